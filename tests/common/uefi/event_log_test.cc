#include "common/uefi/event_log.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::uefi {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;

std::string PathOf(const std::string& name) {
  return absl::StrCat(CUPEL_VECTORS_DIR, "/event_logs/", name);
}

std::vector<uint8_t> LogNamed(const std::string& name) {
  std::ifstream file(PathOf(name + ".bin"), std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The PCRs that the kernel showed on the same machine.
nlohmann::json PcrsNamed(const std::string& name) {
  std::ifstream file(PathOf(name + ".pcrs.json"));
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

void PutU16(std::vector<uint8_t>& out, uint16_t value) {
  out.push_back(static_cast<uint8_t>(value & 0xff));
  out.push_back(static_cast<uint8_t>(value >> 8));
}
void PutU32(std::vector<uint8_t>& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<uint8_t>(value >> shift & 0xff));
  }
}

// A log for the SHA-256 bank with nothing in it but its header.
std::vector<uint8_t> Header() {
  std::vector<uint8_t> log;
  PutU32(log, 0);
  PutU32(log, 3);  // EV_NO_ACTION
  log.resize(log.size() + 20);
  PutU32(log, 33);
  Append(log, AsBytes(absl::string_view("Spec ID Event03\0", 16)));
  PutU32(log, 0);
  PutU32(log, 0x02000200);  // version 2.0, errata 0, uintnSize 2
  PutU32(log, 1);
  PutU16(log, 0x000b);
  PutU16(log, 32);
  log.push_back(0);
  return log;
}

void AddEvent(std::vector<uint8_t>& log, uint32_t pcr, uint32_t type,
              uint8_t fill, absl::string_view data) {
  PutU32(log, pcr);
  PutU32(log, type);
  PutU32(log, 1);
  PutU16(log, 0x000b);
  log.insert(log.end(), 32, fill);
  PutU32(log, static_cast<uint32_t>(data.size()));
  Append(log, AsBytes(data));
}

TEST_CASE("Event logs of real firmware give the PCRs beside them") {
  const std::string name =
      GENERATE(std::string("ovmf"), "seabios", "seabios-sha384", "vm-ovmf");
  INFO(name);
  const std::vector<uint8_t> bytes = LogNamed(name);
  const auto log = ParseEventLog(bytes);
  REQUIRE_THAT(log.status(), IsOk());
  const nlohmann::json pcrs = PcrsNamed(name);
  REQUIRE(log->banks.size() == pcrs.size());
  for (const HashAlgorithm bank : log->banks) {
    const auto replayed = ReplayEventLog(*log, bank);
    REQUIRE_THAT(replayed.status(), IsOk());
    const auto& values = pcrs[std::string(crypto::HashAlgorithmName(bank))];
    for (uint32_t pcr = 0; pcr < 10; ++pcr) {
      INFO(pcr);
      const Digest value = (*replayed)[pcr].value_or(Digest(bank));
      CHECK(value.Hex() == values[std::to_string(pcr)].get<std::string>());
    }
    CHECK((*replayed)[0].has_value());
    CHECK_FALSE((*replayed)[16].has_value());
  }
}

TEST_CASE("Each byte of a digest in an event log changes its replay") {
  std::vector<uint8_t> bytes = LogNamed("ovmf");
  const auto log = ParseEventLog(bytes);
  REQUIRE_THAT(log.status(), IsOk());
  const auto before = ReplayEventLog(*log, HashAlgorithm::kSha256);
  REQUIRE_THAT(before.status(), IsOk());
  size_t tried = 0;
  for (const Event& event : log->events) {
    if (event.type == EventType::kNoAction) continue;
    const Digest* const digest = event.FindDigest(HashAlgorithm::kSha256);
    REQUIRE(digest != nullptr);
    const auto at = std::search(bytes.begin(), bytes.end(),
                                digest->bytes().begin(), digest->bytes().end());
    REQUIRE(at != bytes.end());
    std::vector<uint8_t> changed = bytes;
    changed[static_cast<size_t>(at - bytes.begin())] ^= 1;
    const auto other = ParseEventLog(changed);
    REQUIRE_THAT(other.status(), IsOk());
    CHECK_FALSE(*ReplayEventLog(*other, HashAlgorithm::kSha256) == *before);
    ++tried;
  }
  CHECK(tried > 10);
}

TEST_CASE("An event log that breaks off within an event is refused") {
  const std::vector<uint8_t> bytes = LogNamed("ovmf");
  const auto whole = ParseEventLog(bytes);
  REQUIRE_THAT(whole.status(), IsOk());
  size_t complete = 0;
  for (size_t size = 1; size < bytes.size(); ++size) {
    const auto log = ParseEventLog(std::span(bytes).first(size));
    if (log.ok()) {
      ++complete;
      CHECK(log->events.size() < whole->events.size());
    } else {
      CHECK_THAT(log.status(),
                 StatusIs(absl::StatusCode::kInvalidArgument, "event "));
    }
  }
  // Where one event ends and the next begins.
  CHECK(complete == whole->events.size() - 1);
}

TEST_CASE("An empty event log has no bank") {
  const auto log = ParseEventLog({});
  REQUIRE_THAT(log.status(), IsOk());
  CHECK(log->events.empty());
  CHECK_THAT(ReplayEventLog(*log, HashAlgorithm::kSha256).status(),
             StatusIs(absl::StatusCode::kNotFound));
}

TEST_CASE("An event log of the older form is one of SHA-1 alone") {
  std::vector<uint8_t> bytes;
  PutU32(bytes, 4);
  PutU32(bytes, 0x0d);  // EV_IPL
  bytes.insert(bytes.end(), 20, 0xab);
  PutU32(bytes, 4);
  Append(bytes, AsBytes("grub"));
  const auto log = ParseEventLog(bytes);
  REQUIRE_THAT(log.status(), IsOk());
  CHECK(log->banks == std::vector{HashAlgorithm::kSha1});
  const auto pcrs = ReplayEventLog(*log, HashAlgorithm::kSha1);
  REQUIRE_THAT(pcrs.status(), IsOk());
  Digest expected(HashAlgorithm::kSha1);
  crypto::ExtendPcr(expected, std::vector<uint8_t>(20, 0xab));
  CHECK((*pcrs)[4] == expected);
  CHECK_THAT(ReplayEventLog(*log, HashAlgorithm::kSha256).status(),
             StatusIs(absl::StatusCode::kNotFound, "sha256"));
}

TEST_CASE("PCR 0 starts with the locality that the log names") {
  std::vector<uint8_t> bytes = Header();
  AddEvent(bytes, 0, 3, 0, absl::string_view("StartupLocality\0\3", 17));
  AddEvent(bytes, 0, 8, 0x11, "version");
  AddEvent(bytes, 1, 8, 0x11, "version");
  const auto log = ParseEventLog(bytes);
  REQUIRE_THAT(log.status(), IsOk());
  const auto pcrs = ReplayEventLog(*log, HashAlgorithm::kSha256);
  REQUIRE_THAT(pcrs.status(), IsOk());
  Digest from_three(HashAlgorithm::kSha256);
  from_three.mutable_bytes().back() = 3;
  crypto::ExtendPcr(from_three, std::vector<uint8_t>(32, 0x11));
  CHECK((*pcrs)[0] == from_three);
  CHECK_FALSE((*pcrs)[1] == from_three);
}

TEST_CASE("An event log whose sizes or algorithms are made up is refused") {
  std::vector<uint8_t> good = Header();
  AddEvent(good, 4, 4, 0x22, "data");
  REQUIRE_THAT(ParseEventLog(good).status(), IsOk());
  const size_t event = Header().size();
  const auto refused = [&](size_t at, std::vector<uint8_t> bytes,
                           const std::string& word) {
    std::vector<uint8_t> log = good;
    std::copy(bytes.begin(), bytes.end(),
              log.begin() + static_cast<std::ptrdiff_t>(at));
    const auto parsed = ParseEventLog(log);
    CHECK_THAT(parsed.status(),
               StatusIs(absl::StatusCode::kInvalidArgument, word));
  };
  refused(event, {24, 0, 0, 0}, "pcrIndex");
  refused(event + 8, {2, 0, 0, 0}, "digests");
  refused(event + 8, {0xff, 0xff, 0xff, 0xff}, "digests");
  refused(event + 12, {4, 0}, "not in the header");
  refused(event + 46, {5, 0, 0, 0}, "event 1");
  refused(event - 3, {0xff, 0xff}, "event 0");  // the size of SHA-256
  refused(event - 9, {0, 0, 0, 0}, "numberOfAlgorithms");

  std::vector<uint8_t> trailing = good;
  trailing.push_back(0);
  CHECK_THAT(ParseEventLog(trailing).status(),
             StatusIs(absl::StatusCode::kInvalidArgument, "event 2"));
  std::vector<uint8_t> huge = good;
  huge[event + 46] = huge[event + 47] = huge[event + 48] = 0xff;
  huge[event + 49] = 0x7f;
  CHECK_THAT(ParseEventLog(huge).status(),
             StatusIs(absl::StatusCode::kResourceExhausted, "event 1"));
}

TEST_CASE("A digest of an algorithm stands in an event once") {
  std::vector<uint8_t> log = LogNamed("ovmf");
  // The second event's second digest becomes another SHA-1 one.
  const auto parsed = ParseEventLog(log);
  REQUIRE_THAT(parsed.status(), IsOk());
  const size_t second = 32 + parsed->events[0].data.size();
  REQUIRE(log[second + 12] == 0x04);
  REQUIRE(log[second + 12 + 22] == 0x0b);
  log[second + 12 + 22] = 0x04;
  CHECK_THAT(ParseEventLog(log).status(),
             StatusIs(absl::StatusCode::kInvalidArgument, "twice"));
}

TEST_CASE("An event that lacks a bank's digest ends that bank's replay") {
  std::vector<uint8_t> bytes = Header();
  PutU32(bytes, 4);
  PutU32(bytes, 4);
  PutU32(bytes, 0);  // no digest
  PutU32(bytes, 0);
  const auto log = ParseEventLog(bytes);
  REQUIRE_THAT(log.status(), IsOk());
  CHECK_THAT(ReplayEventLog(*log, HashAlgorithm::kSha256).status(),
             StatusIs(absl::StatusCode::kInvalidArgument, "event 1"));
  CHECK_THAT(ReplayEventLog(*log, HashAlgorithm::kSm3_256).status(),
             StatusIs(absl::StatusCode::kUnimplemented));
}

}  // namespace
}  // namespace cupel::uefi
