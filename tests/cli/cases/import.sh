# Checkpoints of PyTorch. Nothing of one is executed: this one asks for os.system("touch here").
{
  printf 'PK\003\004\024\000\000\000\000\000\000\000\000\000\000\000\000\000\037\000\000\000\037\000\000\000\015\000\000\000made/data.pkl'
  printf '\200\002cos\nsystem\nX\n\000\000\000touch here\205R.'
  printf 'PK\001\002\024\000\024\000\000\000\000\000\000\000\000\000\000\000\000\000\037\000\000\000\037\000\000\000\015\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000made/data.pkl'
  printf 'PK\005\006\000\000\000\000\001\000\001\000;\000\000\000J\000\000\000\000\000'
} >code.pth
run tinytl import code.pth -o out.safetensors
ls here out.safetensors 2>&1
# Cut short; of before PyTorch 1.6; tensors of unknown names.
head -c 100 code.pth >cut.pth
run tinytl import cut.pth -o out.safetensors
printf '\200\002\212\012\154\374\234\106\371\040\152\250\120\031.' >old.pth
run tinytl import old.pth -o out.safetensors
printf '\100\0\0\0\0\0\0\0%-64s\0\0\0\0' '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' >names.safetensors
run tinytl import names.safetensors -o out.safetensors
ls out.safetensors 2>&1
