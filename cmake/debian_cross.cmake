# A cross build for Linux on CMAKE_SYSTEM_PROCESSOR with Debian's compiler for TRIPLE and its packages of that
# architecture; programs run under qemu.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${TRIPLE}-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE ${TRIPLE})
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/${TRIPLE}/pkgconfig:/usr/share/pkgconfig)
