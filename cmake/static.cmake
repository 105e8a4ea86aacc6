# Makes PkgConfig::TINYTL_STATIC_DEPS, the static libraries that the program needs, and sets
# TINYTL_STATIC_LINK to the option that links it with them alone; empty: it cannot be.
include(CheckCSourceCompiles)

function(find_static_deps)
  set(TINYTL_STATIC_LINK "" PARENT_SCOPE)
  if(BUILD_SHARED_LIBS)
    message(STATUS "tinytl: with shared libraries, because of BUILD_SHARED_LIBS")
    return()
  endif()
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(PKG_CONFIG_ARGN --static)
  pkg_check_modules(TINYTL_STATIC_DEPS QUIET IMPORTED_TARGET ${TINYTL_REQUIRES})
  # C may have no static library either, and what is there may be unfit for a position-independent
  # program, which is preferred: it costs no memory, and an attack by a picture meets random
  # addresses.
  set(CMAKE_REQUIRED_LIBRARIES PkgConfig::TINYTL_STATIC_DEPS Threads::Threads m)
  foreach(option static-pie static)
    set(CMAKE_REQUIRED_LINK_OPTIONS -${option})
    unset(TINYTL_LINKS_${option} CACHE) # libraries may have come or gone
    check_c_source_compiles("
      #include <stdio.h>
      #include <jpeglib.h>
      static struct jpeg_decompress_struct jpeg;
      int main(void) {
        jpeg_create_decompress(&jpeg);
        return puts(\"\");
      }" TINYTL_LINKS_${option})
    if(TINYTL_LINKS_${option})
      message(STATUS "tinytl: one static binary (-${option})")
      set(TINYTL_STATIC_LINK -${option} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  list(JOIN TINYTL_REQUIRES ", " names)
  message(STATUS "tinytl: with shared libraries: of ${names} or C no static one was found")
endfunction()

find_static_deps()
