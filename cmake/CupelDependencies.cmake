# Every library that Cupel links, found once. All are Debian 12 packages;
# packaging/install-deps.sh installs them.
find_package(PkgConfig REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(simdjson CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_package(Threads REQUIRED)

# What an initramfs may be compressed by.
find_package(BZip2 REQUIRED)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(LZMA REQUIRED IMPORTED_TARGET liblzma)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)

find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
pkg_check_modules(TSS2 REQUIRED IMPORTED_TARGET
                  tss2-esys tss2-mu tss2-rc tss2-tctildr)

# SOCI comes with neither a CMake package of Debian's nor a pkg-config file.
find_library(SOCI_CORE soci_core REQUIRED)
find_library(SOCI_SQLITE3 soci_sqlite3 REQUIRED)
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
add_library(cupel_soci INTERFACE)
target_include_directories(cupel_soci SYSTEM INTERFACE /usr/include/soci)
target_link_libraries(cupel_soci INTERFACE ${SOCI_CORE} ${SOCI_SQLITE3}
                      PkgConfig::SQLITE3)
add_library(cupel::soci ALIAS cupel_soci)

if(CUPEL_BUILD_TESTS)
  find_package(Catch2 2 CONFIG REQUIRED)
  include(Catch)
endif()
if(CUPEL_BUILD_BENCHMARKS)
  find_package(benchmark CONFIG REQUIRED)
endif()
