# A short front for CMake: see CMakePresets.json.
JOBS ?= $(shell nproc)

.PHONY: all demo test check-asan check-clang check-arm64 check-format format install clean

all:
	cmake --preset release
	cmake --build --preset release -j $(JOBS)

demo:
	tools/install_packages.sh build
	$(MAKE) all
	tools/demo.sh

test:
	tools/install_packages.sh build test
	cmake --preset release -DTINYTL_TESTS=ON
	cmake --build --preset release -j $(JOBS)
	ctest --preset release

check-asan:
	tools/install_packages.sh build test
	cmake --preset asan
	cmake --build --preset asan -j $(JOBS)
	ctest --preset asan

check-clang:
	tools/install_packages.sh build test clang
	cmake --preset clang
	cmake --build --preset clang -j $(JOBS)
	ctest --preset clang

check-arm64:
	tools/install_packages.sh build test arm64
	cmake --preset arm64
	cmake --build --preset arm64 -j $(JOBS)
	ctest --preset arm64

C_FILES = $(shell git ls-files '*.c' '*.h')

check-format:
	tools/install_packages.sh format
	clang-format --dry-run -Werror $(C_FILES)

format:
	clang-format -i $(C_FILES)

install: all
	cmake --install build

clean:
	rm -rf build build-asan build-clang build-arm64
