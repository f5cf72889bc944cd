#include "agent/tpm/der.h"

#include "catch2/catch.hpp"
#include "common/util/hex.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::vector<uint8_t> Long(size_t size, const std::string& header) {
  std::vector<uint8_t> bytes = *HexDecode(header);
  bytes.resize(bytes.size() + size, 0xab);
  return bytes;
}

TEST_CASE("CutToDer takes off what follows a certificate") {
  for (const auto& [size, header] : {std::pair<size_t, const char*>{3, "3003"},
                                     {0x80, "308180"},
                                     {0x123, "30820123"}}) {
    const std::vector<uint8_t> der = Long(size, header);
    std::vector<uint8_t> padded = der;
    CHECK(*CutToDer(padded) == der);
    padded.insert(padded.end(), {0, 0, 0xff});
    const auto cut = CutToDer(padded);
    REQUIRE_THAT(StatusOf(cut), IsOk());
    CHECK(*cut == der);
  }
}

TEST_CASE("CutToDer refuses what is no whole DER sequence") {
  const std::vector<uint8_t> der = Long(0x123, "30820123");
  for (size_t size = 0; size < der.size(); ++size) {
    CHECK_THAT(StatusOf(CutToDer(std::span(der).first(size))),
               StatusIs(kInvalid, "certificate"));
  }
  CHECK_THAT(StatusOf(CutToDer(Long(3, "3103"))), StatusIs(kInvalid, "0x31"));
  CHECK_THAT(StatusOf(CutToDer(Long(3, "ffff"))), StatusIs(kInvalid, "0xff"));
  // Not the shortest form, indefinite, longer than an NV index.
  CHECK_THAT(StatusOf(CutToDer(Long(3, "308103"))),
             StatusIs(kInvalid, "shortest"));
  CHECK_THAT(StatusOf(CutToDer(Long(0x80, "30820080"))),
             StatusIs(kInvalid, "shortest"));
  CHECK_THAT(StatusOf(CutToDer(Long(3, "3080"))),
             StatusIs(kInvalid, "0 bytes"));
  CHECK_THAT(StatusOf(CutToDer(Long(3, "3083000003"))),
             StatusIs(kInvalid, "3 bytes"));
}

}  // namespace
}  // namespace cupel::agent
