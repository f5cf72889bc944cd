#include "verifier/rpc/fleet_commands.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "verifier/rpc/fleet_messages.h"
#include "verifier/session/accepted_findings.h"

namespace cupel::verifier {
namespace {

constexpr uint32_t kPageSize = 1000;
constexpr size_t kTokenSize = 32;
constexpr absl::Duration kDefaultTokenLifetime = absl::Hours(24);
constexpr absl::Duration kMaxTokenLifetime = absl::Hours(24 * 30);
constexpr size_t kMaxReasonSize = 1024;
constexpr int kMaxAccepted = 1000;

absl::StatusOr<AgentId> ParseId(const std::string& text) {
  auto id = AgentId::Parse(text);
  CUPEL_RETURN_IF_ERROR(WithContext(id.status(), "agent_id"));
  return id;
}

// A fingerprint as people copy it: in either case, with colons or without.
absl::StatusOr<std::string> ParseFingerprint(const std::string& text) {
  std::string hex = absl::AsciiStrToLower(text);
  hex.erase(std::remove(hex.begin(), hex.end(), ':'), hex.end());
  const auto bytes = HexDecode(hex);
  if (!bytes.ok() || bytes->size() != 32) {
    return absl::InvalidArgumentError(
        "ek_sha256: a SHA-256 has 64 digits in hex");
  }
  return hex;
}

absl::Status Change(const std::string& member, const AgentSettings& wanted,
                    AgentSettings& settings) {
  if (member == "policies") {
    settings.policies = wanted.policies;
  } else if (member == "labels") {
    settings.labels = wanted.labels;
  } else if (member == "boot") {
    settings.boot = wanted.boot;
  } else if (member == "lab") {
    settings.lab = wanted.lab;
  } else if (member == "allow_sha1_bank") {
    settings.allow_sha1_bank = wanted.allow_sha1_bank;
  } else if (member == "tolerate_violations") {
    settings.tolerate_violations = wanted.tolerate_violations;
  } else if (member == "padded_sha1_banks") {
    settings.padded_sha1_banks = wanted.padded_sha1_banks;
  } else if (member == "interval") {
    settings.interval = wanted.interval;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("changed: settings have no member ", Quoted(member, 64)));
  }
  return absl::OkStatus();
}

// The agent's findings that `text`, "ID" or "ID:PATH", names.
absl::Status Accept(const AgentRecord& agent, const std::string& text,
                    const AcceptedFinding& form,
                    std::vector<AcceptedFinding>& accepted) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  if (!IsAcceptable(parts.first)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "accept: ", Quoted(parts.first, 64),
        " is no finding that can be accepted: it would vouch for evidence that "
        "nobody knows"));
  }
  bool found = false;
  for (const appraisal::Finding& finding : agent.findings) {
    if (finding.id != parts.first ||
        (!parts.second.empty() && finding.path != parts.second)) {
      continue;
    }
    found = true;
    AcceptedFinding one = form;
    one.id = std::string(finding.id);
    one.path = finding.path;
    one.found = finding.found;
    accepted.push_back(std::move(one));
  }
  if (found) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("accept: the agent has no finding ", Quoted(text, 256)));
}

}  // namespace

v1::Agent FleetCommands::Show(const AgentRecord& record) {
  const absl::Time now = store_.Now();
  const absl::Duration interval = record.settings.interval.value_or(interval_);
  return ToProto(record, now, now - interval - grace_);
}

absl::StatusOr<std::vector<AgentRecord>> FleetCommands::Select(
    const std::string& tenant, const v1::Selector& selector, bool default_all) {
  const int ways = (selector.agent_id().empty() ? 0 : 1) +
                   (selector.labels().empty() ? 0 : 1) +
                   (selector.all() ? 1 : 0);
  if (ways > 1 || (ways == 0 && !default_all)) {
    return absl::InvalidArgumentError(
        "selector: give an agent's id, labels, or all, and one of them only");
  }
  if (!selector.agent_id().empty()) {
    CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(selector.agent_id()));
    CUPEL_ASSIGN_OR_RETURN(AgentRecord record, store_.GetAgent(tenant, id));
    std::vector<AgentRecord> one;
    one.push_back(std::move(record));
    return one;
  }
  AgentFilter filter;
  filter.tenant = tenant;
  filter.limit = kPageSize;
  CUPEL_ASSIGN_OR_RETURN(filter.labels, LabelsFromProto(selector.labels()));
  std::vector<AgentRecord> all;
  while (true) {
    CUPEL_ASSIGN_OR_RETURN(std::vector<AgentRecord> page,
                           store_.ListAgents(filter));
    if (page.empty()) return all;
    filter.after = page.back().id;
    std::move(page.begin(), page.end(), std::back_inserter(all));
  }
}

absl::StatusOr<v1::AddAgentReply> FleetCommands::Add(
    const OperatorIdentity& who, const v1::AddAgentRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  CUPEL_ASSIGN_OR_RETURN(const AgentSettings settings,
                         FromProto(request.settings()));
  std::string ek_sha256;
  if (request.trust_on_first_use() != request.ek_sha256().empty()) {
    return absl::InvalidArgumentError(
        "give either the EK's fingerprint, ek_sha256, or the wish to trust "
        "whatever EK has the id, trust_on_first_use");
  }
  if (!request.ek_sha256().empty()) {
    CUPEL_ASSIGN_OR_RETURN(ek_sha256, ParseFingerprint(request.ek_sha256()));
  }
  CUPEL_ASSIGN_OR_RETURN(
      const AgentRecord record,
      store_.AddAgent(who.tenant, id, settings, ek_sha256, OperatorName(who)));
  v1::AddAgentReply reply;
  *reply.mutable_agent() = Show(record);
  return reply;
}

absl::StatusOr<v1::UpdateAgentReply> FleetCommands::Update(
    const OperatorIdentity& who, const v1::UpdateAgentRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentSettings wanted,
                         FromProto(request.settings()));
  if (request.changed().empty()) {
    return absl::InvalidArgumentError("changed: nothing is to change");
  }
  AgentSettings ignored;
  for (const std::string& member : request.changed()) {
    CUPEL_RETURN_IF_ERROR(Change(member, wanted, ignored));
  }
  CUPEL_ASSIGN_OR_RETURN(
      const std::vector<AgentRecord> agents,
      Select(who.tenant, request.selector(), /*default_all=*/false));
  v1::UpdateAgentReply reply;
  for (const AgentRecord& agent : agents) {
    AgentSettings settings = agent.settings;
    for (const std::string& member : request.changed()) {
      CUPEL_RETURN_IF_ERROR(Change(member, wanted, settings));
    }
    const absl::Status updated =
        store_.UpdateAgent(who.tenant, agent.id, settings, OperatorName(who));
    if (!updated.ok()) {
      // Those before it are updated: the update can be repeated.
      return WithContext(updated, absl::StrCat("agent ", agent.id.ToString()));
    }
    reply.set_updated_count(reply.updated_count() + 1);
  }
  return reply;
}

absl::StatusOr<v1::DeleteAgentReply> FleetCommands::Delete(
    const OperatorIdentity& who, const v1::DeleteAgentRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  CUPEL_RETURN_IF_ERROR(store_.DeleteAgent(who.tenant, id, OperatorName(who)));
  return v1::DeleteAgentReply();
}

absl::StatusOr<v1::Agent> FleetCommands::Get(
    const OperatorIdentity& who, const v1::GetAgentRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  CUPEL_ASSIGN_OR_RETURN(const AgentRecord record,
                         store_.GetAgent(who.tenant, id));
  return Show(record);
}

absl::StatusOr<v1::ListAgentsReply> FleetCommands::List(
    const OperatorIdentity& who, const v1::ListAgentsRequest& request) {
  v1::ListAgentsReply reply;
  if (!request.selector().agent_id().empty()) {
    CUPEL_ASSIGN_OR_RETURN(
        const std::vector<AgentRecord> agents,
        Select(who.tenant, request.selector(), /*default_all=*/true));
    for (const AgentRecord& agent : agents) *reply.add_agents() = Show(agent);
    return reply;
  }
  AgentFilter filter;
  filter.tenant = who.tenant;
  CUPEL_ASSIGN_OR_RETURN(filter.labels,
                         LabelsFromProto(request.selector().labels()));
  filter.limit = request.page_size() == 0
                     ? kPageSize
                     : std::min(request.page_size(), kPageSize);
  if (!request.page_token().empty()) {
    auto after = AgentId::Parse(request.page_token());
    CUPEL_RETURN_IF_ERROR(WithContext(after.status(), "page_token"));
    filter.after = *after;
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<AgentRecord> agents,
                         store_.ListAgents(filter));
  for (const AgentRecord& agent : agents) *reply.add_agents() = Show(agent);
  if (agents.size() == filter.limit) {
    reply.set_next_page_token(agents.back().id.ToString());
  }
  return reply;
}

absl::StatusOr<v1::ListEnrolledReply> FleetCommands::ListEnrolled(
    const OperatorIdentity& who) {
  v1::ListEnrolledReply reply;
  CUPEL_ASSIGN_OR_RETURN(const std::vector<AgentRecord> unclaimed,
                         store_.ListUnclaimed());
  for (const AgentRecord& agent : unclaimed) {
    if (!agent.tenant.empty() && agent.tenant != who.tenant) continue;
    *reply.add_agents() = Show(agent);
  }
  // Those that a token of this tenant has brought.
  CUPEL_ASSIGN_OR_RETURN(
      const std::vector<AgentRecord> own,
      Select(who.tenant, v1::Selector(), /*default_all=*/true));
  for (const AgentRecord& agent : own) {
    if (agent.state != AgentState::kEnrolled) continue;
    *reply.add_agents() = Show(agent);
  }
  return reply;
}

absl::StatusOr<v1::ReactivateReply> FleetCommands::Reactivate(
    const OperatorIdentity& who, const v1::ReactivateRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  if (request.reason().size() > kMaxReasonSize ||
      request.accept_size() > kMaxAccepted) {
    return absl::InvalidArgumentError("reason or accept: too long");
  }
  if (request.accept_size() > 0 && request.reason().empty()) {
    return absl::InvalidArgumentError(
        "reason: what is accepted needs one, for the record");
  }
  CUPEL_ASSIGN_OR_RETURN(const AgentRecord agent,
                         store_.GetAgent(who.tenant, id));
  AcceptedFinding form;
  if (agent.progress.clock_info.has_value()) {
    form.reset_count = agent.progress.clock_info->reset_count;
    form.restart_count = agent.progress.clock_info->restart_count;
  }
  form.who = OperatorName(who);
  form.why = request.reason();
  form.time = store_.Now();
  std::vector<AcceptedFinding> accepted;
  for (const std::string& text : request.accept()) {
    CUPEL_RETURN_IF_ERROR(Accept(agent, text, form, accepted));
  }
  const bool pin =
      agent.settings.boot == "pinned" &&
      (agent.pinned_boot_composite.empty() ||
       std::ranges::any_of(accepted, [](const AcceptedFinding& one) {
         return one.id == "boot.pcr_mismatch";
       }));
  CUPEL_RETURN_IF_ERROR(store_.Reactivate(
      who.tenant, id, std::move(accepted), request.reset_counters(),
      pin ? agent.boot_composite : "", OperatorName(who)));
  CUPEL_ASSIGN_OR_RETURN(const AgentRecord now,
                         store_.GetAgent(who.tenant, id));
  v1::ReactivateReply reply;
  *reply.mutable_agent() = Show(now);
  return reply;
}

absl::StatusOr<v1::StopReply> FleetCommands::Stop(
    const OperatorIdentity& who, const v1::StopRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  CUPEL_RETURN_IF_ERROR(store_.StopAgent(who.tenant, id, OperatorName(who)));
  return v1::StopReply();
}

absl::StatusOr<v1::AttestNowReply> FleetCommands::AttestNow(
    const OperatorIdentity& who, const v1::AttestNowRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  CUPEL_RETURN_IF_ERROR(store_.GetAgent(who.tenant, id).status());
  if (!attest_now_(id)) {
    return absl::FailedPreconditionError(
        "the agent is not connected, or has not proven itself yet");
  }
  return v1::AttestNowReply();
}

absl::StatusOr<v1::CreateTokenReply> FleetCommands::CreateToken(
    const OperatorIdentity& who, const v1::CreateTokenRequest& request) {
  absl::Duration lifetime = kDefaultTokenLifetime;
  if (request.has_valid_for()) {
    CUPEL_ASSIGN_OR_RETURN(lifetime,
                           DurationFromProto(request.valid_for(), "valid_for"));
  }
  if (lifetime <= absl::ZeroDuration() || lifetime > kMaxTokenLifetime) {
    return absl::InvalidArgumentError(
        absl::StrCat("valid_for: more than nothing, and at most ",
                     absl::FormatDuration(kMaxTokenLifetime)));
  }
  std::array<uint8_t, kTokenSize> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
    return crypto::OpensslError("RAND_bytes");
  }
  v1::CreateTokenReply reply;
  reply.set_token(HexEncode(random));
  CUPEL_RETURN_IF_ERROR(store_.AddEnrollmentToken(
      who.tenant,
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(reply.token()))
          .Hex(),
      store_.Now() + lifetime));
  return reply;
}

}  // namespace cupel::verifier
