# A short front for CMake: see CMakePresets.json.
JOBS ?= $(shell nproc)

.PHONY: all demo test check-asan check-clang check-arm64 check-armhf check-tsan check-mpi check-lint check-format fuzz format install clean

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

# 32 bits.
check-armhf:
	tools/install_packages.sh build test armhf
	cmake --preset armhf
	cmake --build --preset armhf -j $(JOBS)
	ctest --preset armhf

# Everything with threads.
check-tsan:
	tools/install_packages.sh build test
	cmake --preset tsan
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan

# Pre-training over ranks that mpirun starts.
check-mpi:
	tools/install_packages.sh build test mpi
	cmake --preset mpi
	cmake --build --preset mpi -j $(JOBS)
	ctest --preset mpi

# Every target for FUZZ_SECONDS; a corpus grows in build-fuzz/corpus. docs/robustness.md.
FUZZ_SECONDS ?= 5
fuzz:
	tools/install_packages.sh build test fuzz
	cmake --preset fuzz
	cmake --build --preset fuzz -j $(JOBS)
	fuzz/run.sh build-fuzz $(FUZZ_SECONDS)

check-lint:
	tools/install_packages.sh build lint
	cmake --preset release
	tools/lint.sh build $(JOBS)

C_FILES = $(shell git ls-files '*.c' '*.h')

check-format:
	tools/install_packages.sh format
	clang-format --dry-run -Werror $(C_FILES)

format:
	clang-format -i $(C_FILES)

install: all
	cmake --install build

clean:
	rm -rf build build-asan build-clang build-arm64 build-armhf build-tsan build-mpi build-fuzz
