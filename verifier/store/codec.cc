#include "verifier/store/codec.h"

#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::EntryCounts;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Progress;
using ::cupel::appraisal::Severity;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

constexpr uint8_t kVersion = 1;
// Progress: 1 lacks the counts, 2 list_pcrs and pending_since.
constexpr uint8_t kProgressVersion = 3;
constexpr uint8_t kFindingsVersion = 2;  // 1 lacks the boot
// Settings: 1 ends before bank, 2 before list_pcrs and what is behind it, 3
// before ima_policies.
constexpr uint8_t kSettingsVersion = 4;

class Writer {
 public:
  explicit Writer(char kind, uint8_t version = kVersion) {
    bytes_.push_back(static_cast<uint8_t>(kind));
    bytes_.push_back(version);
  }

  void U8(uint8_t value) { bytes_.push_back(value); }
  void U32(uint32_t value) { AppendBe(bytes_, value); }
  void U64(uint64_t value) { AppendBe(bytes_, value); }
  void I64(int64_t value) { U64(static_cast<uint64_t>(value)); }
  void Flag(bool value) { U8(value ? 1 : 0); }
  void Count(size_t count) { U32(static_cast<uint32_t>(count)); }
  void Bytes(std::span<const uint8_t> bytes) {
    Count(bytes.size());
    Append(bytes_, bytes);
  }
  void Text(absl::string_view text) { Bytes(AsBytes(text)); }
  void Texts(const std::vector<std::string>& texts) {
    Count(texts.size());
    for (const std::string& text : texts) Text(text);
  }
  void Digest(const crypto::Digest& digest) {
    Text(HashAlgorithmName(digest.algorithm()));
    Append(bytes_, digest.bytes());
  }

  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

// Reads what Writer wrote. The first thing that is wrong ends it: from then on
// every read gives a zero, and Finish tells.
class Reader {
 public:
  Reader(std::span<const uint8_t> bytes, char kind, absl::string_view what,
         uint8_t newest = kVersion)
      : what_(what), reader_(bytes, ByteOrder::kBig) {
    if (U8() != static_cast<uint8_t>(kind)) Fail("another kind of value");
    version_ = U8();
    if (version_ == 0 || version_ > newest) {
      Fail(absl::StrCat("version ", version_));
    }
  }
  uint8_t version() const { return version_; }

  uint8_t U8() { return Take(reader_.ReadU8("byte")); }
  uint32_t U32() { return Take(reader_.ReadU32("u32")); }
  uint64_t U64() { return Take(reader_.ReadU64("u64")); }
  int64_t I64() { return static_cast<int64_t>(U64()); }
  bool Flag() {
    const uint8_t value = U8();
    if (value > 1) Fail("a flag that is neither 0 nor 1");
    return value == 1;
  }
  // Of a list whose elements have at least `min_size` bytes each: so a wrong
  // count can't make anybody allocate.
  uint32_t Count(size_t min_size) {
    const uint32_t count = U32();
    if (count <= reader_.remaining() / min_size) return count;
    Fail("a count beyond the end");
    return 0;
  }
  std::span<const uint8_t> Bytes() {
    return Take(reader_.ReadSized32(reader_.remaining(), "bytes"));
  }
  std::vector<uint8_t> Vector() { return ToVector(Bytes()); }
  std::string Text() { return std::string(AsText(Bytes())); }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts(Count(/*min_size=*/4));
    for (std::string& text : texts) text = Text();
    return texts;
  }
  HashAlgorithm Algorithm() {
    const auto algorithm = crypto::HashAlgorithmFromName(AsText(Bytes()));
    if (!algorithm.has_value()) Fail("an unknown hash algorithm");
    return algorithm.value_or(HashAlgorithm::kSha256);
  }
  crypto::Digest Digest() {
    const HashAlgorithm algorithm = Algorithm();
    const auto bytes =
        Take(reader_.ReadBytes(crypto::DigestSize(algorithm), "digest"));
    if (!status_.ok()) return crypto::Digest(algorithm);
    return Check(crypto::Digest::Create(algorithm, bytes))
        .value_or(crypto::Digest(algorithm));
  }

  template <typename T>
  absl::StatusOr<T> Check(absl::StatusOr<T> value) {
    if (!value.ok()) Fail(value.status().message());
    return value;
  }
  void Check(const absl::Status& status) {
    if (!status.ok()) Fail(status.message());
  }
  void Fail(absl::string_view message) {
    if (!status_.ok()) return;
    status_ =
        absl::DataLossError(absl::StrCat("store: ", what_, ": ", message));
  }
  bool ok() const { return status_.ok(); }

  template <typename T>
  absl::StatusOr<T> Finish(T value) {
    if (status_.ok()) Check(reader_.ExpectEnd("value"));
    if (!status_.ok()) return status_;
    return value;
  }

 private:
  template <typename T>
  T Take(absl::StatusOr<T> value) {
    if (!value.ok()) Fail(value.status().message());
    return status_.ok() ? *std::move(value) : T{};
  }

  absl::string_view what_;
  ByteReader reader_;
  uint8_t version_ = 0;
  absl::Status status_;
};

// A finding's id as text of static storage. Databases hold few different ones.
absl::string_view InternId(std::string id) {
  static std::mutex& mutex = *new std::mutex;
  static std::set<std::string>& ids = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return *ids.insert(std::move(id)).first;
}

void WriteReplayer(const ima::Replayer& replayer, Writer& out) {
  out.Count(replayer.banks().size());
  for (const ima::Bank& bank : replayer.banks()) {
    out.Text(HashAlgorithmName(bank.algorithm));
    out.Flag(bank.fill == ima::BankFill::kPaddedSha1);
  }
  out.U32(static_cast<uint32_t>(replayer.extended_pcrs().to_ulong()));
  for (const ima::Bank& bank : replayer.banks()) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      if (!replayer.extended_pcrs()[pcr]) continue;
      out.Digest(replayer.Value(bank.algorithm, pcr));
    }
  }
}

ima::PcrSet ReadPcrs(Reader& in) {
  const uint32_t mask = in.U32();
  if (mask >> ima::kPcrCount != 0) in.Fail("a PCR that there isn't");
  return ima::PcrSet(mask);
}

std::optional<ima::Replayer> ReadReplayer(Reader& in) {
  std::vector<ima::Bank> banks(in.Count(/*min_size=*/5));
  for (ima::Bank& bank : banks) {
    bank.algorithm = in.Algorithm();
    bank.fill =
        in.Flag() ? ima::BankFill::kPaddedSha1 : ima::BankFill::kOwnHash;
  }
  const ima::PcrSet extended = ReadPcrs(in);
  std::vector<ima::ReplayTarget::Value> values;
  for (const ima::Bank& bank : banks) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount && in.ok(); ++pcr) {
      if (!extended[pcr]) continue;
      values.push_back({bank.algorithm, pcr, in.Digest()});
    }
  }
  if (!in.ok()) return std::nullopt;
  auto replayer = in.Check(ima::Replayer::FromState(std::move(banks), values));
  if (!replayer.ok()) return std::nullopt;
  return *std::move(replayer);
}

void WriteCounts(const EntryCounts& counts, Writer& out) {
  out.U64(counts.entries);
  out.U64(counts.good);
  out.U64(counts.excluded);
  out.U64(counts.not_in_policy);
  out.U64(counts.digest_mismatch);
  out.U64(counts.template_digest);
  out.U64(counts.violations);
  out.U64(counts.other_failures);
  out.U64(counts.pending);
}

EntryCounts ReadCounts(Reader& in) {
  EntryCounts counts;
  counts.entries = in.U64();
  counts.good = in.U64();
  counts.excluded = in.U64();
  counts.not_in_policy = in.U64();
  counts.digest_mismatch = in.U64();
  counts.template_digest = in.U64();
  counts.violations = in.U64();
  counts.other_failures = in.U64();
  counts.pending = in.U64();
  return counts;
}

void WriteClockInfo(const tpm::ClockInfo& info, Writer& out) {
  out.U64(info.clock);
  out.U32(info.reset_count);
  out.U32(info.restart_count);
  out.Flag(info.safe);
}

tpm::ClockInfo ReadClockInfo(Reader& in) {
  tpm::ClockInfo info;
  info.clock = in.U64();
  info.reset_count = in.U32();
  info.restart_count = in.U32();
  info.safe = in.Flag();
  return info;
}

}  // namespace

std::vector<uint8_t> EncodeProgress(const Progress& progress) {
  Writer out('P', kProgressVersion);
  out.Text(progress.key);
  out.U64(progress.entry_count);
  out.U64(progress.byte_offset);
  out.Flag(progress.replayer.has_value());
  if (progress.replayer.has_value()) WriteReplayer(*progress.replayer, out);
  out.Flag(progress.clock_info.has_value());
  if (progress.clock_info.has_value()) {
    WriteClockInfo(*progress.clock_info, out);
  }
  out.Count(progress.boot_pcrs.size());
  progress.boot_pcrs.ForEach([&](uint32_t pcr, const Digest& value) {
    out.U32(pcr);
    out.Digest(value);
  });
  out.U64(progress.pending_size);
  out.Flag(progress.pending_digest.has_value());
  if (progress.pending_digest.has_value()) out.Digest(*progress.pending_digest);
  WriteCounts(progress.counts, out);
  out.U32(static_cast<uint32_t>(progress.list_pcrs.to_ulong()));
  out.Flag(progress.pending_since.has_value());
  if (progress.pending_since.has_value()) {
    out.I64(TimeToSql(*progress.pending_since));
  }
  return out.Take();
}

absl::StatusOr<Progress> DecodeProgress(std::span<const uint8_t> bytes) {
  Reader in(bytes, 'P', "progress", kProgressVersion);
  Progress progress;
  progress.key = in.Text();
  progress.entry_count = in.U64();
  progress.byte_offset = in.U64();
  if (in.Flag()) progress.replayer = ReadReplayer(in);
  if (in.Flag()) progress.clock_info = ReadClockInfo(in);
  const uint32_t pcr_count = in.Count(/*min_size=*/8);
  for (uint32_t i = 0; i < pcr_count && in.ok(); ++i) {
    const uint32_t pcr = in.U32();
    const Digest value = in.Digest();
    if (in.ok()) in.Check(progress.boot_pcrs.Set(pcr, value));
  }
  progress.pending_size = in.U64();
  if (in.Flag()) progress.pending_digest = in.Digest();
  if (in.version() > 1) {
    progress.counts = ReadCounts(in);
  } else {  // what was passed was good, or excluded
    progress.counts.entries = progress.counts.good = progress.entry_count;
  }
  if (in.version() > 2) {
    progress.list_pcrs = ReadPcrs(in);
    if (in.Flag()) progress.pending_since = TimeFromSql(in.I64());
  } else if (progress.replayer.has_value()) {
    progress.list_pcrs = progress.replayer->extended_pcrs();
  }
  return in.Finish(std::move(progress));
}

std::vector<uint8_t> EncodeClockInfo(const tpm::ClockInfo& info) {
  Writer out('K');
  WriteClockInfo(info, out);
  return out.Take();
}

absl::StatusOr<tpm::ClockInfo> DecodeClockInfo(std::span<const uint8_t> bytes) {
  Reader in(bytes, 'K', "clock");
  const tpm::ClockInfo info = ReadClockInfo(in);
  return in.Finish(info);
}

std::vector<uint8_t> EncodeCounts(const EntryCounts& counts) {
  Writer out('C');
  WriteCounts(counts, out);
  return out.Take();
}

absl::StatusOr<EntryCounts> DecodeCounts(std::span<const uint8_t> bytes) {
  Reader in(bytes, 'C', "counts");
  const EntryCounts counts = ReadCounts(in);
  return in.Finish(counts);
}

std::vector<uint8_t> EncodeFindings(std::span<const Finding> findings) {
  Writer out('F', kFindingsVersion);
  out.Count(findings.size());
  for (const Finding& finding : findings) {
    out.Text(finding.id);
    out.Text(SeverityName(finding.severity));
    out.Flag(finding.entry_index.has_value());
    if (finding.entry_index.has_value()) out.U64(*finding.entry_index);
    out.Flag(finding.pcr.has_value());
    if (finding.pcr.has_value()) out.U32(*finding.pcr);
    out.Text(finding.path);
    out.Text(finding.expected);
    out.Text(finding.found);
    out.Text(finding.detail);
    out.Flag(finding.authenticated);
    out.Flag(finding.boot.has_value());
    if (finding.boot.has_value()) {
      out.U32(finding.boot->reset_count);
      out.U32(finding.boot->restart_count);
    }
  }
  return out.Take();
}

absl::StatusOr<std::vector<Finding>> DecodeFindings(
    std::span<const uint8_t> bytes) {
  Reader in(bytes, 'F', "findings", kFindingsVersion);
  std::vector<Finding> findings;
  const uint32_t count = in.Count(/*min_size=*/27);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Finding finding;
    finding.id = InternId(in.Text());
    const std::string severity = in.Text();
    bool known = false;
    for (const Severity each :
         {Severity::kNotice, Severity::kUndecided, Severity::kFailure}) {
      if (severity != SeverityName(each)) continue;
      finding.severity = each;
      known = true;
    }
    if (!known) in.Fail("an unknown severity");
    if (in.Flag()) finding.entry_index = in.U64();
    if (in.Flag()) finding.pcr = in.U32();
    finding.path = in.Text();
    finding.expected = in.Text();
    finding.found = in.Text();
    finding.detail = in.Text();
    finding.authenticated = in.Flag();
    if (in.version() > 1 && in.Flag()) {
      const uint32_t reset_count = in.U32();
      finding.boot = tpm::BootCounts{reset_count, in.U32()};
    }
    findings.push_back(std::move(finding));
  }
  return in.Finish(std::move(findings));
}

std::vector<uint8_t> EncodeAccepted(std::span<const AcceptedFinding> accepted) {
  Writer out('A');
  out.Count(accepted.size());
  for (const AcceptedFinding& finding : accepted) {
    out.Text(finding.id);
    out.Text(finding.path);
    out.Text(finding.found);
    out.U32(finding.reset_count);
    out.U32(finding.restart_count);
    out.Text(finding.who);
    out.Text(finding.why);
    out.I64(TimeToSql(finding.time));
  }
  return out.Take();
}

absl::StatusOr<std::vector<AcceptedFinding>> DecodeAccepted(
    std::span<const uint8_t> bytes) {
  Reader in(bytes, 'A', "accepted findings");
  std::vector<AcceptedFinding> accepted(in.Count(/*min_size=*/36));
  for (AcceptedFinding& finding : accepted) {
    finding.id = in.Text();
    finding.path = in.Text();
    finding.found = in.Text();
    finding.reset_count = in.U32();
    finding.restart_count = in.U32();
    finding.who = in.Text();
    finding.why = in.Text();
    finding.time = TimeFromSql(in.I64());
  }
  return in.Finish(std::move(accepted));
}

std::vector<uint8_t> EncodeSettings(const AgentSettings& settings) {
  Writer out('S', kSettingsVersion);
  out.Texts(settings.policies);
  out.Count(settings.labels.size());
  for (const auto& [name, value] : settings.labels) {
    out.Text(name);
    out.Text(value);
  }
  out.Text(settings.boot);
  out.Flag(settings.lab);
  out.Flag(settings.allow_sha1_bank);
  out.Flag(settings.tolerate_violations);
  out.Texts(settings.padded_sha1_banks);
  out.Flag(settings.interval.has_value());
  if (settings.interval.has_value()) {
    out.I64(absl::ToInt64Nanoseconds(*settings.interval));
  }
  out.Text(settings.bank);
  out.Text(settings.on_gap);
  out.Count(settings.list_pcrs.size());
  for (const uint32_t pcr : settings.list_pcrs) out.U32(pcr);
  out.Texts(settings.without_excludes);
  out.Texts(settings.tolerated_violations);
  out.Texts(settings.ima_policies);
  return out.Take();
}

absl::StatusOr<AgentSettings> DecodeSettings(std::span<const uint8_t> bytes) {
  Reader in(bytes, 'S', "settings", kSettingsVersion);
  AgentSettings settings;
  settings.policies = in.Texts();
  const uint32_t label_count = in.Count(/*min_size=*/8);
  for (uint32_t i = 0; i < label_count && in.ok(); ++i) {
    std::string name = in.Text();
    if (!settings.labels.emplace(std::move(name), in.Text()).second) {
      in.Fail("a label twice");
    }
  }
  settings.boot = in.Text();
  settings.lab = in.Flag();
  settings.allow_sha1_bank = in.Flag();
  settings.tolerate_violations = in.Flag();
  settings.padded_sha1_banks = in.Texts();
  if (in.Flag()) settings.interval = absl::Nanoseconds(in.I64());
  if (in.version() >= 2) {
    settings.bank = in.Text();
    settings.on_gap = in.Text();
  }
  if (in.version() >= 3) {
    settings.list_pcrs.resize(in.Count(/*min_size=*/4));
    for (uint32_t& pcr : settings.list_pcrs) pcr = in.U32();
    settings.without_excludes = in.Texts();
    settings.tolerated_violations = in.Texts();
  }
  if (in.version() >= 4) settings.ima_policies = in.Texts();
  return in.Finish(std::move(settings));
}

std::vector<uint8_t> EncodeJudgedPolicies(
    std::span<const JudgedPolicy> policies) {
  Writer out('J');
  out.Count(policies.size());
  for (const JudgedPolicy& policy : policies) {
    out.Text(policy.name);
    out.Text(policy.content_id);
  }
  return out.Take();
}

absl::StatusOr<std::vector<JudgedPolicy>> DecodeJudgedPolicies(
    std::span<const uint8_t> bytes) {
  Reader in(bytes, 'J', "policies of a verdict");
  std::vector<JudgedPolicy> policies(in.Count(/*min_size=*/8));
  for (JudgedPolicy& policy : policies) {
    policy.name = in.Text();
    policy.content_id = in.Text();
  }
  return in.Finish(std::move(policies));
}

std::vector<uint8_t> EncodeEnrollment(const Enrollment& enrollment) {
  Writer out('E');
  out.Bytes(enrollment.ek_certificate);
  out.Text(enrollment.ek_sha256);
  out.Bytes(enrollment.ek_name);
  out.Bytes(enrollment.ak_public);
  out.Bytes(enrollment.ak_name);
  out.I64(TimeToSql(enrollment.time));
  out.Text(enrollment.address);
  return out.Take();
}

absl::StatusOr<Enrollment> DecodeEnrollment(std::span<const uint8_t> bytes) {
  Reader in(bytes, 'E', "enrolment");
  Enrollment enrollment;
  enrollment.ek_certificate = in.Vector();
  enrollment.ek_sha256 = in.Text();
  enrollment.ek_name = in.Vector();
  enrollment.ak_public = in.Vector();
  enrollment.ak_name = in.Vector();
  enrollment.time = TimeFromSql(in.I64());
  enrollment.address = in.Text();
  return in.Finish(std::move(enrollment));
}

int64_t TimeToSql(absl::Time time) { return absl::ToUnixNanos(time); }

absl::Time TimeFromSql(int64_t value) {
  if (value == std::numeric_limits<int64_t>::max()) {
    return absl::InfiniteFuture();
  }
  if (value == std::numeric_limits<int64_t>::min()) return absl::InfinitePast();
  return absl::FromUnixNanos(value);
}

}  // namespace cupel::verifier
