#include "verifier/rpc/fleet_messages.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crypto/digest.h"
#include "common/ima/entry.h"
#include "common/policy/ima_policy_paths.h"
#include "common/policy/tpm_policy.h"
#include "common/policy/violation_patterns.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "common/util/utf8.h"
#include "verifier/session/accepted_findings.h"
#include "verifier/store/bounded_findings.h"
#include "verifier/store/policy_names.h"

namespace cupel::verifier {
namespace {

// google/protobuf/duration.proto.
constexpr int64_t kMaxDurationSeconds = 315'576'000'000;
// PCR 16 and those behind it can be reset.
constexpr uint32_t kLastListPcr = 15;
// A list may be of thousands of agents.
constexpr FindingBounds kSummaryBounds = {1, size_t{4} << 10};

// A proto3 string has to be UTF-8, and some of these may quote an agent's
// bytes. Whoever shows it escapes it.
std::string Text(absl::string_view bytes) {
  for (absl::string_view rest = bytes; !rest.empty();) {
    const Utf8Character character = DecodeUtf8(rest);
    if (character.size == 0) return EscapeForDisplay(bytes);
    rest.remove_prefix(character.size);
  }
  return std::string(bytes);
}

}  // namespace

void SetProto(absl::Time time, google::protobuf::Timestamp& message) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  message.set_seconds(seconds);
  message.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

void SetProto(absl::Duration duration, google::protobuf::Duration& message) {
  absl::Duration rest;
  message.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::StatusOr<absl::Duration> DurationFromProto(
    const google::protobuf::Duration& message, absl::string_view name) {
  if (message.seconds() < -kMaxDurationSeconds ||
      message.seconds() > kMaxDurationSeconds ||
      message.nanos() <= -1'000'000'000 || message.nanos() >= 1'000'000'000) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": no duration"));
  }
  return absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

v1::State ToProto(AgentState state) {
  switch (state) {
    case AgentState::kExpected:
      return v1::STATE_EXPECTED;
    case AgentState::kEnrolled:
      return v1::STATE_ENROLLED;
    case AgentState::kPending:
      return v1::STATE_PENDING;
    case AgentState::kTrusted:
      return v1::STATE_TRUSTED;
    case AgentState::kFailed:
      return v1::STATE_FAILED;
    case AgentState::kStopped:
      return v1::STATE_STOPPED;
  }
  return v1::STATE_UNSPECIFIED;
}

v1::Finding ToProto(const appraisal::Finding& finding) {
  v1::Finding message;
  message.set_id(std::string(finding.id));
  message.set_severity(std::string(SeverityName(finding.severity)));
  if (finding.entry_index.has_value()) {
    message.set_entry_index(*finding.entry_index);
  }
  if (finding.pcr.has_value()) message.set_pcr(*finding.pcr);
  message.set_path(finding.path);
  message.set_expected(Text(finding.expected));
  message.set_found(Text(finding.found));
  message.set_detail(Text(finding.detail));
  message.set_authenticated(finding.authenticated);
  if (finding.severity == appraisal::Severity::kFailure) {
    message.set_accept_as(AcceptanceOf(finding));
  }
  return message;
}

v1::AcceptedFinding ToProto(const AcceptedFinding& finding) {
  v1::AcceptedFinding message;
  message.set_id(finding.id);
  message.set_path(finding.path);
  message.set_found(Text(finding.found));
  message.set_reset_count(finding.reset_count);
  message.set_restart_count(finding.restart_count);
  message.set_who(Text(finding.who));
  message.set_why(Text(finding.why));
  SetProto(finding.time, *message.mutable_time());
  return message;
}

v1::JudgedPolicy ToProto(const JudgedPolicy& policy) {
  v1::JudgedPolicy message;
  message.set_name(Text(policy.name));
  message.set_content_id(Text(policy.content_id));
  return message;
}

v1::AgentSettings ToProto(const AgentSettings& settings) {
  v1::AgentSettings message;
  for (const std::string& policy : settings.policies) {
    message.add_policies(policy);
  }
  for (const auto& [key, value] : settings.labels) {
    (*message.mutable_labels())[key] = value;
  }
  message.set_boot(settings.boot);
  message.set_lab(settings.lab);
  message.set_allow_sha1_bank(settings.allow_sha1_bank);
  message.set_tolerate_violations(settings.tolerate_violations);
  for (const std::string& bank : settings.padded_sha1_banks) {
    message.add_padded_sha1_banks(bank);
  }
  if (settings.interval.has_value()) {
    SetProto(*settings.interval, *message.mutable_interval());
  }
  message.set_bank(settings.bank);
  message.set_on_gap(settings.on_gap);
  for (const uint32_t pcr : settings.list_pcrs) message.add_list_pcrs(pcr);
  for (const std::string& name : settings.without_excludes) {
    message.add_without_excludes(name);
  }
  for (const std::string& pattern : settings.tolerated_violations) {
    message.add_tolerated_violations(pattern);
  }
  for (const std::string& path : settings.ima_policies) {
    message.add_ima_policies(path);
  }
  return message;
}

v1::Agent ToProto(const AgentRecord& record, absl::Time now,
                  absl::Time live_since, Detail detail) {
  v1::Agent message;
  message.set_agent_id(record.id.ToString());
  message.set_state(ToProto(record.StateAt(now)));
  message.set_live(record.last_seen.has_value() &&
                   *record.last_seen >= live_since);
  // PENDING has a deadline too, which nobody may take for trust.
  if (record.StateAt(now) == AgentState::kTrusted) {
    SetProto(*record.valid_until, *message.mutable_valid_until());
  }
  if (record.last_attested.has_value()) {
    SetProto(*record.last_attested, *message.mutable_last_attested());
  }
  if (record.last_seen.has_value()) {
    SetProto(*record.last_seen, *message.mutable_last_seen());
  }
  message.set_ek_sha256(record.enrollment.has_value()
                            ? record.enrollment->ek_sha256
                            : record.wanted_ek_sha256);
  *message.mutable_settings() = ToProto(record.settings);
  const bool all = detail == Detail::kAll;
  message.set_finding_count(record.findings.size());
  for (const appraisal::Finding& finding :
       all ? std::span(record.findings)
           : Bounded(record.findings, kSummaryBounds)) {
    *message.add_findings() = ToProto(finding);
  }
  if (all) {
    for (const AcceptedFinding& finding : record.accepted) {
      *message.add_accepted() = ToProto(finding);
    }
    for (const JudgedPolicy& policy : record.judged_policies) {
      *message.add_judged_policies() = ToProto(policy);
    }
  }
  message.set_entry_count(record.counts.entries);
  message.set_good_count(record.counts.good);
  message.set_excluded_count(record.counts.excluded);
  message.set_attestation_count(record.attestation_count);
  if (record.clock_info.has_value()) {
    message.set_reset_count(record.clock_info->reset_count);
    message.set_restart_count(record.clock_info->restart_count);
  }
  message.set_boot_composite(record.boot_composite);
  message.set_pinned_boot_composite(record.pinned_boot_composite);
  message.set_state_reason(Text(record.state_reason));
  return message;
}

v1::Event ToProto(const AgentEvent& event) {
  v1::Event message;
  SetProto(event.time, *message.mutable_time());
  message.set_agent_id(event.id.ToString());
  message.set_state(ToProto(event.state));
  message.set_previous(ToProto(event.previous));
  for (const appraisal::Finding& finding : event.findings) {
    *message.add_findings() = ToProto(finding);
  }
  message.set_text(Text(event.text));
  for (const JudgedPolicy& policy : event.policies) {
    *message.add_judged_policies() = ToProto(policy);
  }
  return message;
}

v1::PolicyInfo ToProto(const PolicyRecord& record) {
  v1::PolicyInfo message;
  message.set_name(record.name);
  message.set_content_id(record.content_id);
  message.set_version(record.version);
  message.set_size(record.size);
  message.set_digest_count(record.digest_count);
  SetProto(record.created, *message.mutable_created());
  return message;
}

v1::AllowedEk ToProto(const AllowedEk& ek) {
  v1::AllowedEk message;
  message.set_ek_sha256(ek.ek_sha256);
  message.set_who(Text(ek.who));
  SetProto(ek.time, *message.mutable_time());
  return message;
}

absl::Status CheckPolicyName(absl::string_view name) {
  const bool fits =
      !name.empty() && name.size() <= kMaxPolicyNameSize && name[0] != '.' &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
               c == '_' || c == '-';
      });
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "policy \"", EscapeForDisplay(name.substr(0, kMaxPolicyNameSize)),
      "\": a name is made of letters, digits, '.', '_' and '-', at most ",
      kMaxPolicyNameSize, " of them, and begins with no dot"));
}

absl::StatusOr<std::map<std::string, std::string>> LabelsFromProto(
    const google::protobuf::Map<std::string, std::string>& labels) {
  if (labels.size() > kMaxLabelCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels: more than ", kMaxLabelCount));
  }
  std::map<std::string, std::string> result;
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelSize ||
        value.size() > kMaxLabelSize) {
      return absl::InvalidArgumentError(
          absl::StrCat("labels: a key has 1 to ", kMaxLabelSize,
                       " bytes, a value at most ", kMaxLabelSize));
    }
    result[key] = value;
  }
  return result;
}

namespace {

absl::StatusOr<std::vector<std::string>> PoliciesFromProto(
    const google::protobuf::RepeatedPtrField<std::string>& names,
    absl::string_view member) {
  if (names.size() > kMaxPoliciesPerAgent) {
    return absl::InvalidArgumentError(
        absl::StrCat(member, ": more than ", kMaxPoliciesPerAgent));
  }
  std::vector<std::string> policies;
  for (const std::string& name : names) {
    CUPEL_RETURN_IF_ERROR(
        CheckPolicyName(absl::StripPrefix(name, kSharedPrefix)));
    if (std::ranges::find(policies, name) != policies.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(member, ": \"", name, "\" is named twice"));
    }
    policies.push_back(name);
  }
  return policies;
}

}  // namespace

absl::StatusOr<AgentSettings> FromProto(const v1::AgentSettings& message) {
  AgentSettings settings;
  CUPEL_ASSIGN_OR_RETURN(settings.policies,
                         PoliciesFromProto(message.policies(), "policies"));
  CUPEL_ASSIGN_OR_RETURN(
      settings.without_excludes,
      PoliciesFromProto(message.without_excludes(), "without_excludes"));
  CUPEL_ASSIGN_OR_RETURN(settings.labels, LabelsFromProto(message.labels()));
  if (message.boot().size() > kMaxBootRuleSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("boot: more than ", kMaxBootRuleSize, " bytes"));
  }
  settings.boot = message.boot();
  if (!settings.boot.empty() && settings.boot != "any" &&
      settings.boot != "pinned") {
    CUPEL_RETURN_IF_ERROR(
        policy::ParseTpmPolicy(settings.boot, "boot").status());
  }
  settings.lab = message.lab();
  settings.allow_sha1_bank = message.allow_sha1_bank();
  settings.tolerate_violations = message.tolerate_violations();
  for (const std::string& bank : message.padded_sha1_banks()) {
    const std::optional<crypto::HashAlgorithm> algorithm =
        crypto::HashAlgorithmFromName(bank);
    if (!algorithm.has_value() || !crypto::IsReplayBank(*algorithm) ||
        *algorithm == crypto::HashAlgorithm::kSha1) {
      return absl::InvalidArgumentError(
          absl::StrCat("padded_sha1_banks: sha256, sha384 or sha512, not \"",
                       EscapeForDisplay(bank.substr(0, 64)), "\""));
    }
    settings.padded_sha1_banks.push_back(bank);
  }
  if (!message.bank().empty()) {
    const auto bank = crypto::HashAlgorithmFromName(message.bank());
    if (!bank.has_value() || !crypto::IsReplayBank(*bank)) {
      return absl::InvalidArgumentError(
          absl::StrCat("bank: no list can be replayed in the bank ",
                       Quoted(message.bank(), 64)));
    }
    settings.bank = message.bank();
  }
  if (!message.on_gap().empty() && message.on_gap() != "event" &&
      message.on_gap() != "failure") {
    return absl::InvalidArgumentError(absl::StrCat(
        "on_gap: event or failure, not ", Quoted(message.on_gap(), 64)));
  }
  settings.on_gap = message.on_gap();
  for (const uint32_t pcr : message.list_pcrs()) {
    // Behind those of the boot, before those that anybody can reset.
    if (pcr <= ima::kImaPcr || pcr > kLastListPcr) {
      return absl::InvalidArgumentError(
          absl::StrCat("list_pcrs: 11 to ", kLastListPcr, ", not ", pcr));
    }
    settings.list_pcrs.push_back(pcr);
  }
  std::ranges::sort(settings.list_pcrs);
  settings.list_pcrs.erase(
      std::unique(settings.list_pcrs.begin(), settings.list_pcrs.end()),
      settings.list_pcrs.end());
  std::vector<policy::ExcludePattern> patterns;
  for (const std::string& pattern : message.tolerated_violations()) {
    settings.tolerated_violations.push_back(pattern);
    patterns.push_back(
        {pattern, absl::StrCat("tolerated_violations[", patterns.size(), "]")});
  }
  CUPEL_RETURN_IF_ERROR(
      policy::CompileViolationPatterns(std::move(patterns)).status());
  settings.ima_policies.assign(message.ima_policies().begin(),
                               message.ima_policies().end());
  CUPEL_RETURN_IF_ERROR(WithContext(
      policy::ValidateImaPolicyPaths(settings.ima_policies), "ima_policies"));
  if (message.has_interval()) {
    CUPEL_ASSIGN_OR_RETURN(const absl::Duration interval,
                           DurationFromProto(message.interval(), "interval"));
    if (interval < kLeastInterval || interval > kMostInterval) {
      return absl::InvalidArgumentError(
          absl::StrCat("interval: ", absl::FormatDuration(interval),
                       " is not within ", absl::FormatDuration(kLeastInterval),
                       " and ", absl::FormatDuration(kMostInterval)));
    }
    settings.interval = interval;
  }
  return settings;
}

}  // namespace cupel::verifier
