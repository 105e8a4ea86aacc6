#!/bin/sh
# link_classes.sh SET FOLDER
# Makes FOLDER/train and FOLDER/val of links to the class folders of SET/train and SET/test, which have numbers for names, each
# under the first name that SET/words.txt has for it ("number<tab>name, other name"): the names in the bundled models.
set -eu
set_folder=$(realpath "$1")
mkdir -p "$2/train" "$2/val"
while IFS='	' read -r number names; do
  ln -s "$set_folder/train/$number" "$2/train/${names%%,*}"
  ln -s "$set_folder/test/$number" "$2/val/${names%%,*}"
done <"$set_folder/words.txt"
