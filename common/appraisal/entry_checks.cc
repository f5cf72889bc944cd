#include "common/appraisal/entry_checks.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/crypto/pcr.h"
#include "common/ima/boot_aggregate.h"
#include "common/ima/hashed_data.h"
#include "common/ima/template_format.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::ima::Entry;
using ::cupel::ima::EntryFields;
using ::cupel::ima::FileDigest;
using ::cupel::policy::DigestMatch;

// Of a Group: little enough to stay in the first cache.
constexpr size_t kGroupSize = 16;

// Digests that a finding names; the others are counted.
constexpr size_t kDescribedDigests = 8;

std::string Describe(const FileDigest& digest) {
  return absl::StrCat(digest.algorithm_name, ":", HexEncode(digest.bytes));
}

std::string Describe(const std::vector<Digest>& digests) {
  const auto shown =
      std::span(digests).first(std::min(digests.size(), kDescribedDigests));
  std::string text =
      absl::StrJoin(shown, " or ", [](std::string* out, const Digest& d) {
        absl::StrAppend(out, d.ToString());
      });
  if (shown.size() < digests.size()) {
    absl::StrAppend(&text, " or ", digests.size() - shown.size(), " more");
  }
  return text;
}

// No PCR covers a template's name [A43]. Behind digest and name, fields hold
// bytes that whoever owns the machine can choose (extended attributes, buffers,
// the digest without an appended signature): a format that took its digest or
// its name from there would let a renamed template clear anything. The built-in
// templates all start with both.
bool StartsWithDigestAndName(absl::string_view template_name) {
  if (ABSL_PREDICT_TRUE(ima::FindBuiltinFormat(template_name) != nullptr)) {
    return true;
  }
  for (const absl::string_view digest : {"d|", "d-ng|", "d-ngv2|"}) {
    absl::string_view rest = template_name;
    if (!absl::ConsumePrefix(&rest, digest)) continue;
    return rest == "n" || rest == "n-ng" || absl::StartsWith(rest, "n|") ||
           absl::StartsWith(rest, "n-ng|");
  }
  return false;
}

Finding Make(absl::string_view id, std::string detail) {
  return MakeFinding(id, Severity::kFailure, std::move(detail));
}

}  // namespace

struct EntryJudge::Context {
  const Entry& entry;
  // OK, or why the fields do not fit the template.
  const absl::Status& status;
  const EntryFields& fields;  // if `status` is OK
  uint32_t path_hash;         // of fields.path, for look-ups
  // The SHA-1 digest of the template data, where the record shows one.
  const crypto::Sha1Value& sha1;
  bool authenticated;
};

// Entries that are decoded before the first of them is looked up, so that the
// look-ups' cache misses overlap.
struct EntryJudge::Group {
  std::span<const Entry> entries;
  std::array<absl::Status, kGroupSize> statuses;  // of decoding
  std::array<EntryFields, kGroupSize> fields;     // if `statuses` is OK
  std::array<uint32_t, kGroupSize> hashes;        // of the fields' paths
  std::span<const crypto::Sha1Value> sha1;
  std::array<crypto::Sha1Value, kGroupSize> computed_sha1;  // may be `sha1`
};

EntryJudge::EntryJudge(const Reference& reference, const tpm::PcrValues& pcrs,
                       ByteOrder byte_order, FindingLog& log,
                       EntryCounts& counts)
    : reference_(reference),
      pcrs_(pcrs),
      byte_order_(byte_order),
      log_(log),
      counts_(counts) {}

void EntryJudge::Judge(std::span<const Entry> entries,
                       std::span<const crypto::Sha1Value> sha1,
                       const ima::PcrSet& covered) {
  std::array<Group, 2> groups;
  Group* ready = &groups[0];
  Group* next = &groups[1];
  for (size_t at = 0; at < entries.size(); at += kGroupSize) {
    const size_t size = std::min(entries.size() - at, kGroupSize);
    Decode(entries.subspan(at, size),
           sha1.empty() ? sha1 : sha1.subspan(at, size), *next);
    JudgeGroup(*ready, covered);
    // Its slots have had a group's time to arrive, as its records will.
    for (size_t i = 0; i < size; ++i) {
      reference_.policy->PrefetchRecord(next->hashes[i]);
    }
    std::swap(ready, next);
  }
  JudgeGroup(*ready, covered);
}

// Decodes `entries`, at most kGroupSize, into `group`, and starts their
// look-ups.
void EntryJudge::Decode(std::span<const Entry> entries,
                        std::span<const crypto::Sha1Value> sha1, Group& group) {
  const policy::CompiledPolicy& policy = *reference_.policy;
  group.entries = entries;
  for (size_t i = 0; i < entries.size(); ++i) {
    group.statuses[i] =
        ima::ParseFields(entries[i], byte_order_, group.fields[i]);
    group.hashes[i] = 0;
    if (!group.statuses[i].ok()) continue;
    group.hashes[i] = policy.HashPath(group.fields[i].path);
    policy.Prefetch(group.hashes[i]);
  }
  group.sha1 = sha1;
  if (!sha1.empty()) return;
  for (size_t i = 0; i < entries.size(); ++i) {
    std::ranges::copy(
        ima::TemplateDigest(entries[i], HashAlgorithm::kSha1).bytes(),
        group.computed_sha1[i].begin());
  }
  group.sha1 = group.computed_sha1;
}

void EntryJudge::JudgeGroup(const Group& group, const ima::PcrSet& covered) {
  for (size_t i = 0; i < group.entries.size(); ++i) {
    JudgeEntry({group.entries[i], group.statuses[i], group.fields[i],
                group.hashes[i], group.sha1[i],
                covered.test(group.entries[i].pcr)});
  }
}

void EntryJudge::JudgeEntry(const Context& context) {
  ++counts_.entries;
  if (context.entry.index == 0) {
    lacks_ima_policy_ = !reference_.ima_policies.empty();
  }
  const bool pcr_sound = CheckPcr(context);
  const bool digest_sound = CheckTemplateDigest(context);
  const bool sound = pcr_sound && digest_sound;
  if (context.entry.IsViolation()) {
    JudgeViolation(context);
    return;
  }
  if (!context.status.ok()) {
    ReportUnreadable(context);
    return;
  }
  if (!StartsWithDigestAndName(context.entry.template_name)) {
    CountOther(context,
               Make("ima.template_unknown",
                    absl::StrCat("template \"", context.entry.template_name,
                                 "\" does not start with digest and name: it "
                                 "may be another one renamed")));
    return;
  }
  const EntryFields& fields = context.fields;
  if (reference_.policy->denies_anything() && CheckDeny(context, fields)) {
    return;
  }
  // An empty buffer is what a file has where the template for files is ima-buf.
  if (fields.buffer.has_value() && !fields.buffer->empty()) {
    JudgeBuffer(context, fields, sound);
  } else if (ima::IsBootAggregatePath(fields.path)) {
    JudgeBootAggregate(context, fields, sound);
  } else {
    JudgeFile(context, fields, sound);
  }
}

// A list may use any PCR that nobody can set back and that the boot does not
// need [A36].
bool EntryJudge::CheckPcr(const Context& context) {
  const uint32_t pcr = context.entry.pcr;
  if (pcr >= ima::kImaPcr && pcr < crypto::kFirstResettablePcr) return true;
  if (!odd_pcrs_.test(pcr)) {
    odd_pcrs_.set(pcr);
    Finding finding =
        pcr < ima::kImaPcr
            ? Make("ima.pcr_reserved",
                   absl::StrCat("PCR ", pcr,
                                " belongs to the boot; entries on it prove "
                                "nothing, nor does boot_aggregate any more"))
            : Make("ima.pcr_resettable",
                   absl::StrCat("PCR ", pcr,
                                " can be reset while the machine runs; entries "
                                "on it prove nothing"));
    Report(context, std::move(finding));
  }
  ++counts_.other_failures;
  return false;
}

// No PCR covers the digest column [A43]. A wrong one means that the list was
// touched on its way, so it is worth a finding whatever the entry is.
bool EntryJudge::CheckTemplateDigest(const Context& context) {
  const Entry& entry = context.entry;
  if (ABSL_PREDICT_TRUE(
          std::ranges::equal(context.sha1, entry.template_digest)) ||
      entry.IsViolation()) {
    return true;
  }
  const std::optional<Digest> expected =
      ima::ExpectedTemplateDigest(entry, reference_.padded_sha1_banks);
  if (expected.has_value() &&
      std::ranges::equal(expected->bytes(), entry.template_digest)) {
    return true;
  }
  ++counts_.template_digest;
  if (log_.DropIfFull(Severity::kFailure)) return false;
  Finding finding = Make("ima.template_digest",
                         "the record's digest is not that of its data");
  if (expected.has_value()) finding.expected = expected->Hex();
  finding.found = HexEncode(entry.template_digest);
  Report(context, std::move(finding));
  return false;
}

bool EntryJudge::IsTolerated(const Context& violation) const {
  if (reference_.tolerate_violations) return true;
  return reference_.tolerated_violations != nullptr && violation.status.ok() &&
         reference_.tolerated_violations->Matches(violation.fields.path);
}

// An open-writers or ToMToU violation: IMA could not tell what was read or run.
// What the record says beside that is covered by no PCR, so its path may add a
// finding, and can take none away [A13, A43], unless an operator has said of
// that path that its violations are tolerated.
void EntryJudge::JudgeViolation(const Context& context) {
  ++counts_.violations;
  const Severity severity =
      IsTolerated(context) ? Severity::kNotice : Severity::kFailure;
  if (!log_.DropIfFull(severity)) {
    Finding finding =
        MakeFinding("ima.violation", severity,
                    "the file was written while it was measured or in use: "
                    "what was measured is not what was used");
    // All that tells one violation from another, as no PCR covers their paths.
    finding.found = absl::StrCat("a violation at entry ", context.entry.index);
    Report(context, std::move(finding));
  }
  if (!context.status.ok()) {
    ReportUnreadable(context);
    return;
  }
  const absl::string_view path = context.fields.path;
  if (!reference_.policy->FindDigests(path).empty() ||
      reference_.policy->IsExcluded(path)) {
    return;
  }
  ++counts_.not_in_policy;
  Finding unlisted =
      Make("ima.not_in_policy", "the policy does not name this file");
  unlisted.authenticated = false;
  Report(context, std::move(unlisted));
}

void EntryJudge::ReportUnreadable(const Context& context) {
  const absl::Status& status = context.status;
  if (log_.DropIfFull(Severity::kFailure)) {
    ++counts_.other_failures;
    return;
  }
  CountOther(context,
             Make(absl::IsUnimplemented(status) ? "ima.template_unknown"
                                                : "ima.template_malformed",
                  std::string(status.message())));
}

// True if a deny rule has the entry's digest, whatever it is a digest of:
// nothing clears it then.
bool EntryJudge::CheckDeny(const Context& context, const EntryFields& fields) {
  if (!fields.digest.has_value() || !fields.digest->algorithm.has_value()) {
    return false;
  }
  const policy::DenyRule* rule = reference_.policy->FindDeny(
      *fields.digest->algorithm, fields.digest->bytes);
  if (rule == nullptr) return false;
  Finding finding =
      Make("ima.digest_denied", absl::StrCat("denied by ", rule->origin));
  finding.found = Describe(*fields.digest);
  CountOther(context, std::move(finding));
  return true;
}

// A kernel begins with its boot_aggregate, and with an IMA policy of its own.
// One in the middle of a list was entered by kexec, with the list of the one
// before: the PCRs that the boot rule judges are those of the first. False if
// that is a failure. Whatever else is wrong with the entry may be accepted, so
// that is no reason to pass over this.
bool EntryJudge::BeginKernel(const Context& context) {
  if (context.entry.index == 0) return true;
  lacks_ima_policy_ = !reference_.ima_policies.empty();
  Finding finding = MakeFinding(
      "boot.kexec",
      policy::AllowsAnyBoot(reference_.boot_rule) ? Severity::kNotice
                                                  : Severity::kFailure,
      "another kernel was entered by kexec, of which the boot rule says "
      "nothing");
  finding.found = absl::StrCat("a kexec at entry ", context.entry.index);
  const bool passes = finding.severity == Severity::kNotice;
  Report(context, std::move(finding));
  return passes;
}

// The digest of the boot's PCRs. It is computed, not listed: a policy that
// lists it would fit one machine alone.
void EntryJudge::JudgeBootAggregate(const Context& context,
                                    const EntryFields& fields, bool sound) {
  const bool kernel_passes = BeginKernel(context);
  const auto count_good = [&] {
    if (kernel_passes) {
      CountGood(sound);
    } else {
      ++counts_.other_failures;
    }
  };
  if (!fields.digest.has_value() || !fields.digest->algorithm.has_value() ||
      fields.digest->type != ima::DigestType::kFile) {
    CountOther(context, Make("ima.boot_aggregate",
                             "an entry called boot_aggregate without a digest "
                             "that boot_aggregate can have"));
    return;
  }
  const FileDigest& digest = *fields.digest;
  const HashAlgorithm algorithm = *digest.algorithm;
  if (IsZero(digest.bytes)) {
    Finding finding = Make(
        "ima.boot_aggregate_zero",
        "boot_aggregate is zero: the kernel found no TPM bank to read when "
        "IMA started");
    finding.found = Describe(digest);
    if (reference_.lab) {
      finding.severity = Severity::kNotice;
      Report(context, std::move(finding));
      count_good();
    } else {
      CountOther(context, std::move(finding));
    }
    return;
  }
  const std::vector<Digest> listed =
      reference_.policy->FindDigests(fields.path);
  const absl::StatusOr<Digest> computed = ima::ComputeBootAggregate(
      algorithm,
      [&](HashAlgorithm bank, uint32_t pcr) -> std::optional<Digest> {
        const Digest* value = pcrs_.Find(bank, pcr);
        return value == nullptr ? std::nullopt : std::optional(*value);
      });
  if (computed.ok()) {
    if (!listed.empty()) {
      Finding notice =
          Make("ima.boot_aggregate_listed",
               "the policy lists boot_aggregate; it is computed from the PCRs "
               "instead, and the listed digest is ignored");
      notice.severity = Severity::kNotice;
      Report(context, std::move(notice));
    }
    if (std::ranges::equal(computed->bytes(), digest.bytes)) {
      count_good();
      return;
    }
    Finding finding =
        Make("ima.boot_aggregate", "boot_aggregate is not what the PCRs give");
    finding.expected =
        absl::StrCat(HashAlgorithmName(algorithm), ":", computed->Hex());
    finding.found = Describe(digest);
    CountOther(context, std::move(finding));
    return;
  }
  // Without the PCRs the policy decides, as it does about a file.
  if (reference_.policy->MatchDigest(fields.path, algorithm, digest.bytes) ==
      DigestMatch::kListed) {
    count_good();
    return;
  }
  if (reference_.policy->IsExcluded(fields.path)) {
    ++(kernel_passes ? counts_.excluded : counts_.other_failures);
    return;
  }
  if (listed.empty()) {
    Finding finding =
        Make("ima.boot_aggregate_unproven",
             absl::StrCat("boot_aggregate can be neither computed (",
                          computed.status().message(),
                          ") nor looked up: the policy does not list it"));
    finding.severity = Severity::kUndecided;
    finding.found = Describe(digest);
    CountOther(context, std::move(finding));
    return;
  }
  ++counts_.digest_mismatch;
  Finding finding = Make("ima.digest_mismatch",
                         "the policy lists boot_aggregate with another digest");
  finding.expected = Describe(listed);
  finding.found = Describe(digest);
  Report(context, std::move(finding));
}

// A buffer that the kernel measured: a key, a kernel command line, critical
// data. Its bytes stand in the entry, so its digest is checked, not believed.
void EntryJudge::JudgeBuffer(const Context& context, const EntryFields& fields,
                             bool sound) {
  if (!fields.digest.has_value() || !fields.digest->algorithm.has_value() ||
      fields.digest->type != ima::DigestType::kFile ||
      !crypto::CanHash(*fields.digest->algorithm)) {
    CountOther(context, Make("ima.buffer_digest",
                             "a buffer without a digest that can be checked"));
    return;
  }
  const FileDigest& digest = *fields.digest;
  const Digest computed = crypto::Hash(*digest.algorithm, *fields.buffer);
  if (!std::ranges::equal(computed.bytes(), digest.bytes)) {
    Finding finding =
        Make("ima.buffer_digest", "the entry's digest is not its buffer's");
    finding.expected = computed.Hex();
    finding.found = Describe(digest);
    CountOther(context, std::move(finding));
    return;
  }
  const policy::CompiledPolicy& policy = *reference_.policy;
  const DigestMatch match =
      policy.MatchBuffer(fields.path, *digest.algorithm, digest.bytes);
  // What would clear a file of this name and digest clears a buffer too, or
  // renaming the template from ima-buf would gain something [A43].
  if (match == DigestMatch::kListed ||
      policy.MatchDigest(fields.path, *digest.algorithm, digest.bytes) ==
          DigestMatch::kListed) {
    CountGood(sound);
    return;
  }
  if (policy.IsExcluded(fields.path)) {
    ++counts_.excluded;
    return;
  }
  const bool unlisted = match == DigestMatch::kUnlisted;
  Finding finding = Make(
      unlisted ? "ima.buffer_not_in_policy" : "ima.buffer_mismatch",
      unlisted ? "the policy names no buffer or keyring of this name"
               : "the policy lists this buffer or keyring with other digests");
  finding.found = Describe(digest);
  CountOther(context, std::move(finding));
}

bool EntryJudge::IsImaPolicy(absl::string_view path) const {
  return std::ranges::find(reference_.ima_policies, path) !=
         reference_.ima_policies.end();
}

void EntryJudge::JudgeFile(const Context& context, const EntryFields& fields,
                           bool sound) {
  const policy::CompiledPolicy& policy = *reference_.policy;
  // A fs-verity digest is over another structure than a file's: it equals no
  // digest of a file's content, whatever its bytes are.
  const bool comparable = fields.digest.has_value() &&
                          fields.digest->algorithm.has_value() &&
                          fields.digest->type == ima::DigestType::kFile;
  const bool zero = comparable && IsZero(fields.digest->bytes);
  DigestMatch match = DigestMatch::kUnlisted;
  if (comparable && !zero) {
    match = policy.MatchDigest(context.path_hash, fields.path,
                               *fields.digest->algorithm, fields.digest->bytes);
    if (match == DigestMatch::kListed) {
      CountGood(sound);
      if (lacks_ima_policy_ && sound && IsImaPolicy(fields.path)) {
        lacks_ima_policy_ = false;
      }
      return;
    }
  }
  if (policy.IsExcluded(fields.path)) {
    ++counts_.excluded;
    return;
  }
  // A path that is listed without a digest is not listed.
  if (!comparable || match == DigestMatch::kMismatch) {
    match = policy.FindDigests(fields.path).empty() ? DigestMatch::kUnlisted
                                                    : DigestMatch::kMismatch;
  }
  (zero                              ? counts_.other_failures
   : match == DigestMatch::kUnlisted ? counts_.not_in_policy
                                     : counts_.digest_mismatch) += 1;
  if (log_.DropIfFull(Severity::kFailure)) return;
  Finding finding;
  if (zero) {
    finding = Make("ima.digest_zero", "the kernel could not hash the file");
  } else if (match == DigestMatch::kUnlisted) {
    finding = Make("ima.not_in_policy", "the policy does not name this file");
  } else {
    finding =
        Make("ima.digest_mismatch",
             comparable ? "the policy lists this file with other digests"
                        : "the entry's digest is of a kind that the policy's "
                          "cannot be compared with");
    finding.expected = Describe(policy.FindDigests(fields.path));
  }
  if (fields.digest.has_value()) finding.found = Describe(*fields.digest);
  Report(context, std::move(finding));
}

void EntryJudge::CountOther(const Context& context, Finding finding) {
  ++counts_.other_failures;
  Report(context, std::move(finding));
}

void EntryJudge::Report(const Context& context, Finding finding) {
  finding.entry_index = context.entry.index;
  finding.pcr = context.entry.pcr;
  if (context.status.ok()) {
    finding.path = std::string(context.fields.path);
  }
  finding.authenticated &= context.authenticated;
  // Of a violation, the PCR covers that there was one, not whose.
  if (context.entry.IsViolation()) finding.authenticated = false;
  log_.Add(std::move(finding));
}

}  // namespace cupel::appraisal
