#include "common/util/descriptor.h"

#include <fcntl.h>

#include <utility>

#include "catch2/catch.hpp"

namespace cupel {
namespace {

int OpenOne() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_CASE("A descriptor is closed once, by its last owner") {
  const int fd = OpenOne();
  REQUIRE(fd >= 0);
  {
    Descriptor first(fd);
    CHECK(first.is_open());
    Descriptor second(std::move(first));
    CHECK(second.get() == fd);
    Descriptor third;
    CHECK_FALSE(third.is_open());
    third = std::move(second);
    CHECK(third.get() == fd);
    CHECK(IsOpen(fd));
  }
  CHECK_FALSE(IsOpen(fd));
}

TEST_CASE("A descriptor that gets another one closes its own") {
  const int fd = OpenOne();
  Descriptor one(fd);
  one = Descriptor(OpenOne());
  CHECK(one.is_open());
  CHECK_FALSE(IsOpen(fd));
  one.Close();
  CHECK_FALSE(one.is_open());
  one.Close();
}

TEST_CASE("What open(2) failed to give is no descriptor") {
  const Descriptor none(open("/no/such/file", O_RDONLY | O_CLOEXEC));
  CHECK_FALSE(none.is_open());
}

}  // namespace
}  // namespace cupel
