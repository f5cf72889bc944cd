#include "verifier/store/codec.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::EntryCounts;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Progress;
using ::cupel::appraisal::Severity;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using enum absl::StatusCode;

Progress WholeProgress() {
  Progress progress;
  progress.key = "key";
  progress.entry_count = 1'000'000;
  progress.byte_offset = uint64_t{5} << 32;
  const std::vector<ima::Bank> banks = {
      {HashAlgorithm::kSha256},
      {HashAlgorithm::kSha384, ima::BankFill::kPaddedSha1}};
  const std::vector<ima::ReplayTarget::Value> values = {
      {HashAlgorithm::kSha256, 10, Digest::Filled(HashAlgorithm::kSha256, 1)},
      {HashAlgorithm::kSha256, 23, Digest::Filled(HashAlgorithm::kSha256, 2)},
      {HashAlgorithm::kSha384, 10, Digest::Filled(HashAlgorithm::kSha384, 3)},
      {HashAlgorithm::kSha384, 23, Digest::Filled(HashAlgorithm::kSha384, 4)}};
  progress.replayer = *ima::Replayer::FromState(banks, values);
  progress.clock_info = tpm::ClockInfo{1'234'567, 7, 2, true};
  REQUIRE_THAT(
      progress.boot_pcrs.Set(0, Digest::Filled(HashAlgorithm::kSha256, 5)),
      IsOk());
  REQUIRE_THAT(
      progress.boot_pcrs.Set(9, Digest::Filled(HashAlgorithm::kSha1, 6)),
      IsOk());
  progress.counts = {.entries = 10,
                     .good = 1,
                     .excluded = 2,
                     .not_in_policy = 3,
                     .digest_mismatch = 4,
                     .template_digest = 5,
                     .violations = 6,
                     .other_failures = 7,
                     .pending = 8};
  progress.list_pcrs = ima::PcrSet(1u << 10 | 1u << 11);
  progress.pending_size = 77;
  progress.pending_since = absl::FromUnixNanos(1'234'567'890'123);
  progress.pending_digest = Digest::Filled(HashAlgorithm::kSha256, 8);
  return progress;
}

std::vector<Finding> TwoFindings() {
  std::vector<Finding> findings(2);
  findings[0] = appraisal::MakeFinding("ima.digest_mismatch",
                                       Severity::kFailure, "detail");
  findings[0].entry_index = uint64_t{1} << 40;
  findings[0].pcr = 10;
  findings[0].path = std::string("/bin/\0\xff", 7);
  findings[0].expected = "sha256:00";
  findings[0].found = "sha256:01";
  findings[0].authenticated = false;
  findings[0].boot = tpm::BootCounts{7, 2};
  findings[1] = appraisal::MakeFinding("boot.any", Severity::kNotice, "");
  return findings;
}

// What is encoded twice, with a decode between, must come out the same; and
// nothing but that is taken.
template <typename Encode, typename Decode>
void CheckExact(const std::vector<uint8_t>& bytes, Encode encode,
                Decode decode) {
  const auto value = decode(bytes);
  REQUIRE_THAT(StatusOf(value), IsOk());
  CHECK(encode(*value) == bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THAT(StatusOf(decode(std::span(bytes).first(size))),
               StatusIs(kDataLoss));
  }
  std::vector<uint8_t> longer = bytes;
  longer.push_back(0);
  CHECK_THAT(StatusOf(decode(longer)), StatusIs(kDataLoss, "left over"));
  std::vector<uint8_t> newer = bytes;
  for (const int version : {0, newer[1] + 1, 255}) {
    newer[1] = static_cast<uint8_t>(version);
    CHECK_THAT(StatusOf(decode(newer)),
               StatusIs(kDataLoss, "version " + std::to_string(version)));
  }
  std::vector<uint8_t> other = bytes;
  other[0] = 'Z';
  CHECK_THAT(StatusOf(decode(other)), StatusIs(kDataLoss, "another kind"));
  // Any byte changed: kDataLoss, or a value that is what its bytes say.
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const uint8_t flip : std::array<uint8_t, 3>{0x01, 0x80, 0xff}) {
      std::vector<uint8_t> changed = bytes;
      changed[at] ^= flip;
      const auto decoded = decode(changed);
      if (!decoded.ok()) {
        CHECK_THAT(StatusOf(decoded), StatusIs(kDataLoss));
      }
    }
  }
}

TEST_CASE("progress is stored exactly", "[store]") {
  const Progress progress = WholeProgress();
  CheckExact(EncodeProgress(progress), EncodeProgress, DecodeProgress);
  CheckExact(EncodeProgress({}), EncodeProgress, DecodeProgress);
  const auto read = DecodeProgress(EncodeProgress(progress));
  REQUIRE_THAT(StatusOf(read), IsOk());
  CHECK(read->key == "key");
  CHECK(read->entry_count == progress.entry_count);
  CHECK(read->byte_offset == progress.byte_offset);
  CHECK(read->clock_info == progress.clock_info);
  CHECK(read->boot_pcrs == progress.boot_pcrs);
  CHECK(read->counts == progress.counts);
  CHECK(read->list_pcrs == progress.list_pcrs);
  CHECK(read->pending_since == progress.pending_since);
  CHECK(read->pending_size == 77);
  CHECK(read->pending_digest == progress.pending_digest);
  REQUIRE(read->replayer.has_value());
  CHECK(read->replayer->extended_pcrs() == progress.replayer->extended_pcrs());
  CHECK(read->replayer->banks()[1] == progress.replayer->banks()[1]);
  CHECK(read->replayer->Value(HashAlgorithm::kSha384, 23) ==
        progress.replayer->Value(HashAlgorithm::kSha384, 23));
}

TEST_CASE("progress that an earlier version has stored is read", "[store]") {
  const Progress progress = WholeProgress();
  std::vector<uint8_t> old = EncodeProgress(progress);
  old[1] = 2;
  CHECK_THAT(StatusOf(DecodeProgress(old)), StatusIs(kDataLoss, "left over"));
  old.resize(old.size() - sizeof(uint32_t) - 1 - sizeof(int64_t));
  const auto second = DecodeProgress(old);
  REQUIRE_THAT(StatusOf(second), IsOk());
  CHECK(second->counts == progress.counts);
  CHECK(second->list_pcrs == progress.replayer->extended_pcrs());
  old[1] = 1;
  CHECK_THAT(StatusOf(DecodeProgress(old)), StatusIs(kDataLoss, "left over"));
  old.resize(old.size() - 9 * sizeof(uint64_t));
  const auto read = DecodeProgress(old);
  REQUIRE_THAT(StatusOf(read), IsOk());
  CHECK(read->pending_digest == progress.pending_digest);
  CHECK(read->counts.entries == progress.entry_count);
  CHECK(read->counts.good == progress.entry_count);
}

TEST_CASE("findings are stored exactly", "[store]") {
  const std::vector<Finding> findings = TwoFindings();
  const auto encode = [](const std::vector<Finding>& value) {
    return EncodeFindings(value);
  };
  CheckExact(EncodeFindings(findings), encode, DecodeFindings);
  const auto read = DecodeFindings(EncodeFindings(findings));
  REQUIRE_THAT(StatusOf(read), IsOk());
  REQUIRE(read->size() == 2);
  CHECK((*read)[0].id == "ima.digest_mismatch");
  CHECK((*read)[0].severity == Severity::kFailure);
  CHECK((*read)[0].entry_index == findings[0].entry_index);
  CHECK((*read)[0].pcr == findings[0].pcr);
  CHECK((*read)[0].path == findings[0].path);
  CHECK_FALSE((*read)[0].authenticated);
  CHECK((*read)[1].severity == Severity::kNotice);
  CHECK_FALSE((*read)[1].pcr.has_value());
  CHECK((*read)[0].boot == tpm::BootCounts{7, 2});
  CHECK_FALSE((*read)[1].boot.has_value());
}

TEST_CASE("findings of the first version are of no boot that is known",
          "[store]") {
  std::vector<uint8_t> first = EncodeFindings(
      std::vector{appraisal::MakeFinding("boot.any", Severity::kNotice, "")});
  first[1] = 1;
  first.pop_back();  // that there is no boot
  const auto read = DecodeFindings(first);
  REQUIRE_THAT(StatusOf(read), IsOk());
  REQUIRE(read->size() == 1);
  CHECK((*read)[0].id == "boot.any");
  CHECK_FALSE((*read)[0].boot.has_value());
}

TEST_CASE("a count that can't be right allocates nothing", "[store]") {
  const std::vector<uint8_t> bytes = {'F', 1, 0xff, 0xff, 0xff, 0xff};
  CHECK_THAT(StatusOf(DecodeFindings(bytes)),
             StatusIs(kDataLoss, "beyond the end"));
}

TEST_CASE("the other values are stored exactly", "[store]") {
  AgentSettings settings;
  settings.policies = {"b", "a"};
  settings.labels = {{"site", "x"}, {"rack", ""}};
  settings.boot = "any";
  settings.allow_sha1_bank = true;
  settings.padded_sha1_banks = {"sha256"};
  settings.interval = absl::Milliseconds(1500);
  settings.bank = "sha384";
  settings.on_gap = "failure";
  settings.list_pcrs = {11, 15};
  settings.without_excludes = {"a"};
  settings.tolerated_violations = {"/var/log/.*", "/\xff"};
  settings.ima_policies = {"/etc/ima/ima-policy", "/\xff"};
  CheckExact(EncodeSettings(settings), EncodeSettings, DecodeSettings);
  CHECK(*DecodeSettings(EncodeSettings(settings)) == settings);
  CHECK(*DecodeSettings(EncodeSettings({})) == AgentSettings());
  // As versions 3, 2 and 1 had them.
  std::vector<uint8_t> first = EncodeSettings({});
  first[1] = 3;
  first.resize(first.size() - 4);
  CHECK(*DecodeSettings(first) == AgentSettings());
  first[1] = 2;
  first.resize(first.size() - 3 * 4);
  CHECK(*DecodeSettings(first) == AgentSettings());
  first[1] = 1;
  first.resize(first.size() - 8);
  CHECK(*DecodeSettings(first) == AgentSettings());

  const EntryCounts counts = {1, 2, 3, 4, 5, 6, 7, 8, ~uint64_t{0}};
  CheckExact(EncodeCounts(counts), EncodeCounts, DecodeCounts);
  CHECK(DecodeCounts(EncodeCounts(counts))->pending == ~uint64_t{0});

  const Enrollment enrollment = {
      {1, 2},     "ab", {3}, {4, 5, 6}, {}, absl::FromUnixNanos(123'456'789),
      "192.0.2.1"};
  CheckExact(EncodeEnrollment(enrollment), EncodeEnrollment, DecodeEnrollment);
  CHECK(DecodeEnrollment(EncodeEnrollment(enrollment))->time ==
        enrollment.time);

  const std::vector<JudgedPolicy> policies = {{"shared/base", "ab"}, {"", ""}};
  const auto encode_policies = [](const std::vector<JudgedPolicy>& value) {
    return EncodeJudgedPolicies(value);
  };
  CheckExact(EncodeJudgedPolicies(policies), encode_policies,
             DecodeJudgedPolicies);
  CHECK(*DecodeJudgedPolicies(EncodeJudgedPolicies(policies)) == policies);

  const std::vector<AcceptedFinding> accepted = {
      {"ima.violation", "/\xff", "", 1, 2, "ann", "why", absl::UnixEpoch()}};
  const auto encode = [](const std::vector<AcceptedFinding>& value) {
    return EncodeAccepted(value);
  };
  CheckExact(EncodeAccepted(accepted), encode, DecodeAccepted);
  CHECK(DecodeAccepted(EncodeAccepted(accepted))->front().path == "/\xff");
}

TEST_CASE("times survive, the infinite ones too", "[store]") {
  for (const absl::Time time :
       {absl::UnixEpoch(), absl::FromUnixNanos(1'800'000'000'123'456'789),
        absl::FromUnixSeconds(-5), absl::InfiniteFuture(),
        absl::InfinitePast()}) {
    CHECK(TimeFromSql(TimeToSql(time)) == time);
  }
}

}  // namespace
}  // namespace cupel::verifier
