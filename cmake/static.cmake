# Makes PkgConfig::TINYTL_STATIC_DEPS, the static libraries that the program needs; sets
# TINYTL_STATIC_LINKS where it can be linked from them alone.
include(CheckCSourceCompiles)

function(find_static_deps)
  unset(TINYTL_STATIC_LINKS CACHE) # the libraries may have come or gone
  if(BUILD_SHARED_LIBS)
    message(STATUS "tinytl: with shared libraries, because of BUILD_SHARED_LIBS")
    return()
  endif()
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(PKG_CONFIG_ARGN --static)
  pkg_check_modules(TINYTL_STATIC_DEPS QUIET IMPORTED_TARGET ${TINYTL_REQUIRES})
  # The C library may have no static form either.
  set(CMAKE_REQUIRED_LINK_OPTIONS -static)
  set(CMAKE_REQUIRED_LIBRARIES PkgConfig::TINYTL_STATIC_DEPS Threads::Threads m)
  check_c_source_compiles("int main(void) { return 0; }" TINYTL_STATIC_LINKS)
  if(TINYTL_STATIC_LINKS)
    message(STATUS "tinytl: one static binary")
  else()
    list(JOIN TINYTL_REQUIRES ", " names)
    message(STATUS "tinytl: with shared libraries: of ${names} or C no static one was found")
  endif()
endfunction()

find_static_deps()
