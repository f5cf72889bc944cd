# How a target of this project is made. One small library a folder:
#
#   cupel_library(common/tpm SOURCES attest.cc ... DEPS cupel::common_crypto)
#
# makes the static library cupel_common_tpm with the alias cupel::common_tpm.

add_library(cupel_options INTERFACE)
target_compile_options(cupel_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
  -Wnon-virtual-dtor -Wold-style-cast -Wformat=2 -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  -fstack-protector-strong)
if(CMAKE_UNITY_BUILD)
  # What is said of a header is meant that only one file may include; here those
  # are sources.
  target_compile_options(cupel_options INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endif()
if(NOT CUPEL_SANITIZE)  # the sanitizers check more, and know nothing of it
  target_compile_definitions(cupel_options INTERFACE
    $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()
target_include_directories(cupel_options INTERFACE ${CMAKE_SOURCE_DIR})
if(CUPEL_SANITIZE)
  # The headers of g++ 12 warn of themselves once they are instrumented.
  target_compile_options(cupel_options INTERFACE
    -fsanitize=${CUPEL_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(cupel_options INTERFACE -fsanitize=${CUPEL_SANITIZE})
endif()
if(CUPEL_BUILD_FUZZERS)
  # The libraries are instrumented for coverage; only a fuzz target has
  # libFuzzer's main.
  target_compile_options(cupel_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(cupel_library folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  string(REPLACE "/" "_" name ${folder})
  add_library(cupel_${name} STATIC ${ARG_SOURCES})
  add_library(cupel::${name} ALIAS cupel_${name})
  target_link_libraries(cupel_${name} PUBLIC cupel_options ${ARG_DEPS})
endfunction()

# What tests share: the static library cupel_tests_<name> of tests/support, with
# the alias cupel::tests_<name>.
function(cupel_test_support name)
  cupel_library(tests/${name} ${ARGN})
endfunction()

function(cupel_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE cupel_options ${ARG_DEPS})
endfunction()

# Sets `result` to whether one of the targets links gRPC, directly or not.
function(cupel_reach_grpc result)
  set(todo ${ARGN})
  set(seen)
  while(todo)
    list(POP_FRONT todo target)
    if(target STREQUAL "gRPC::grpc++")
      set(${result} TRUE PARENT_SCOPE)
      return()
    endif()
    if(NOT TARGET ${target} OR target IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${target})
    get_target_property(linked ${target} INTERFACE_LINK_LIBRARIES)
    if(linked)
      list(APPEND todo ${linked})
    endif()
  endwhile()
  set(${result} FALSE PARENT_SCOPE)
endfunction()

# cupel_test(common_tpm_test LABELS unit SOURCES a_test.cc b_test.cc DEPS ...)
# Each TEST_CASE becomes a ctest of its own, with the given labels. A test that
# cannot run here exits with 77 and is reported as skipped.
function(cupel_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE cupel_options cupel::tests_support
                        ${ARG_DEPS})
  target_compile_definitions(${name} PRIVATE
    CUPEL_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(CUPEL_SANITIZE STREQUAL "thread")
    # Debian's gRPC is not instrumented: ThreadSanitizer sees races in it, and
    # through it in what calls it, that are none. Integration is of programs
    # that have it.
    cupel_reach_grpc(reaches_grpc ${ARG_DEPS})
    if(reaches_grpc OR "integration" IN_LIST ARG_LABELS)
      set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
      return()
    endif()
  endif()
  catch_discover_tests(${name}
    TEST_PREFIX "${name}: "
    PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
               SKIP_RETURN_CODE 77)
endfunction()
