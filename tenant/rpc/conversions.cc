#include "tenant/rpc/conversions.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"

namespace cupel::tenant {
namespace {

AgentState FromProto(v1::State state) {
  switch (state) {
    case v1::STATE_EXPECTED:
      return AgentState::kExpected;
    case v1::STATE_ENROLLED:
      return AgentState::kEnrolled;
    case v1::STATE_PENDING:
      return AgentState::kPending;
    case v1::STATE_TRUSTED:
      return AgentState::kTrusted;
    case v1::STATE_FAILED:
      return AgentState::kFailed;
    case v1::STATE_STOPPED:
      return AgentState::kStopped;
    default:
      return AgentState::kUnknown;
  }
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) +
         absl::Nanoseconds(time.nanos());
}

AgentSettings FromProto(const v1::AgentSettings& settings) {
  AgentSettings result;
  result.policies.assign(settings.policies().begin(),
                         settings.policies().end());
  result.labels.insert(settings.labels().begin(), settings.labels().end());
  result.boot = settings.boot();
  result.lab = settings.lab();
  result.allow_sha1_bank = settings.allow_sha1_bank();
  result.tolerate_violations = settings.tolerate_violations();
  result.padded_sha1_banks.assign(settings.padded_sha1_banks().begin(),
                                  settings.padded_sha1_banks().end());
  if (settings.has_interval()) {
    result.interval = absl::Seconds(settings.interval().seconds()) +
                      absl::Nanoseconds(settings.interval().nanos());
  }
  result.bank = settings.bank();
  result.on_gap = settings.on_gap();
  result.list_pcrs = {settings.list_pcrs().begin(), settings.list_pcrs().end()};
  result.without_excludes.assign(settings.without_excludes().begin(),
                                 settings.without_excludes().end());
  result.tolerated_violations.assign(settings.tolerated_violations().begin(),
                                     settings.tolerated_violations().end());
  result.ima_policies.assign(settings.ima_policies().begin(),
                             settings.ima_policies().end());
  return result;
}

std::vector<JudgedPolicy> FromProto(
    const google::protobuf::RepeatedPtrField<v1::JudgedPolicy>& policies) {
  std::vector<JudgedPolicy> result;
  for (const v1::JudgedPolicy& policy : policies) {
    result.push_back({policy.name(), policy.content_id()});
  }
  return result;
}

// Why no connection came about, as far as gRPC's words tell.
std::string ConnectionTrouble(absl::string_view words) {
  const std::string lower = absl::AsciiStrToLower(words);
  if (absl::StrContains(lower, "certificate verify failed") ||
      absl::StrContains(lower, "certificate_verify_failed")) {
    return "its certificate is not vouched for by the CA given; is --ca that "
           "verifier's?";
  }
  if (absl::StrContains(lower, "peer name") ||
      absl::StrContains(lower, "hostname verification")) {
    return "its certificate is for another name; name the verifier as its "
           "certificate does";
  }
  if (absl::StrContains(lower, "connection refused")) {
    return "connection refused; does it run, and is the port the operators'?";
  }
  if (absl::StrContains(lower, "dns resolution failed") ||
      absl::StrContains(lower, "name resolution")) {
    return "the name does not resolve";
  }
  // A TLS 1.3 server refuses a client's certificate after the handshake, so
  // that the client sees no more than a closed connection.
  if (absl::StrContains(lower, "handshake") ||
      absl::StrContains(lower, "socket closed") ||
      absl::StrContains(lower, "connection reset") ||
      absl::StrContains(lower, "broken pipe")) {
    return absl::StrCat(
        "it closed the connection; does it know the CA of --cert? (",
        EscapeForDisplay(words), ")");
  }
  return EscapeForDisplay(words);
}

}  // namespace

ReportedFinding FromProto(const v1::Finding& finding) {
  ReportedFinding result;
  result.id = finding.id();
  result.severity = finding.severity();
  if (finding.has_entry_index()) result.entry = finding.entry_index();
  if (finding.has_pcr()) result.pcr = finding.pcr();
  result.path = finding.path();
  result.expected = finding.expected();
  result.found = finding.found();
  result.detail = finding.detail();
  result.authenticated = finding.authenticated();
  result.accept_as = finding.accept_as();
  return result;
}

ReportedAgent FromProto(const v1::Agent& agent) {
  ReportedAgent result;
  result.id = agent.agent_id();
  result.state = FromProto(agent.state());
  result.live = agent.live();
  if (agent.has_valid_until()) {
    result.valid_until = FromProto(agent.valid_until());
  }
  if (agent.has_last_attested()) {
    result.last_attested = FromProto(agent.last_attested());
  }
  if (agent.has_last_seen()) result.last_seen = FromProto(agent.last_seen());
  result.ek_sha256 = agent.ek_sha256();
  result.settings = FromProto(agent.settings());
  for (const v1::Finding& finding : agent.findings()) {
    result.findings.push_back(FromProto(finding));
  }
  // A verifier that doesn't count them sends all.
  result.finding_count =
      std::max<uint64_t>(agent.finding_count(), result.findings.size());
  for (const v1::AcceptedFinding& finding : agent.accepted()) {
    result.accepted.push_back({finding.id(), finding.path(), finding.found(),
                               finding.reset_count(), finding.restart_count(),
                               finding.who(), finding.why(),
                               FromProto(finding.time())});
  }
  result.entry_count = agent.entry_count();
  result.good_count = agent.good_count();
  result.excluded_count = agent.excluded_count();
  result.attestation_count = agent.attestation_count();
  result.reset_count = agent.reset_count();
  result.restart_count = agent.restart_count();
  result.boot_composite = agent.boot_composite();
  result.pinned_boot_composite = agent.pinned_boot_composite();
  result.state_reason = agent.state_reason();
  result.judged_policies = FromProto(agent.judged_policies());
  return result;
}

FleetEvent FromProto(const v1::Event& event) {
  FleetEvent result;
  result.time = FromProto(event.time());
  result.id = event.agent_id();
  result.state = FromProto(event.state());
  result.previous = FromProto(event.previous());
  for (const v1::Finding& finding : event.findings()) {
    result.findings.push_back(FromProto(finding));
  }
  result.text = event.text();
  result.judged_policies = FromProto(event.judged_policies());
  return result;
}

AllowedEk FromProto(const v1::AllowedEk& ek) {
  return {ek.ek_sha256(), ek.who(), FromProto(ek.time())};
}

PolicyInfo FromProto(const v1::PolicyInfo& info) {
  PolicyInfo result;
  result.name = info.name();
  result.content_id = info.content_id();
  result.version = info.version();
  result.size = info.size();
  result.digest_count = info.digest_count();
  result.agent_count = info.agent_count();
  if (info.has_created()) result.created = FromProto(info.created());
  return result;
}

v1::AgentSettings ToProto(const AgentSettings& settings) {
  v1::AgentSettings message;
  for (const std::string& name : settings.policies) message.add_policies(name);
  message.mutable_labels()->insert(settings.labels.begin(),
                                   settings.labels.end());
  message.set_boot(settings.boot);
  message.set_lab(settings.lab);
  message.set_allow_sha1_bank(settings.allow_sha1_bank);
  message.set_tolerate_violations(settings.tolerate_violations);
  for (const std::string& bank : settings.padded_sha1_banks) {
    message.add_padded_sha1_banks(bank);
  }
  if (settings.interval.has_value()) {
    *message.mutable_interval() = ToProto(*settings.interval);
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

google::protobuf::Duration ToProto(absl::Duration duration) {
  absl::Duration rest;
  google::protobuf::Duration message;
  message.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return message;
}

v1::Selector ToProto(const Selector& selector) {
  v1::Selector message;
  if (selector.id.has_value()) message.set_agent_id(selector.id->ToString());
  message.mutable_labels()->insert(selector.labels.begin(),
                                   selector.labels.end());
  message.set_all(selector.all);
  return message;
}

absl::Status FromGrpc(const grpc::Status& status, absl::string_view address,
                      absl::Duration timeout) {
  if (status.ok()) return absl::OkStatus();
  const std::string words = status.error_message();  // returned by value
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  const auto with = [&](auto... parts) {
    return absl::Status(code, absl::StrCat(parts...));
  };
  const std::string verifier =
      absl::StrCat("the verifier at ", EscapeForDisplay(address));
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return with("can't talk to ", verifier, ": ", ConnectionTrouble(words));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return with(verifier, " did not answer within ",
                  absl::FormatDuration(timeout), "; see --timeout");
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return with(verifier,
                  " refuses this operator: ", EscapeForDisplay(words));
    case grpc::StatusCode::UNIMPLEMENTED:
      return with(verifier,
                  " does not know this command: is the port the operators', "
                  "and the verifier new enough?");
    default:
      return with(words.empty() ? absl::StrCat(verifier, " gave no reason")
                                : EscapeForDisplay(words));
  }
}

}  // namespace cupel::tenant
