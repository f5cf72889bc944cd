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
#include "common/appraisal/finding.h"
#include "common/crypto/digest.h"
#include "common/crypto/fingerprint.h"
#include "common/crypto/openssl.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "common/util/steady_clock.h"
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
constexpr int kMaxEksPerCall = 10'000;
// Of a reply, in bytes: clients take 64 MiB, and an agent's settings alone may
// come to tens of KiB.
constexpr size_t kMaxListSize = size_t{4} << 20;

absl::StatusOr<AgentId> ParseId(const std::string& text) {
  auto id = AgentId::Parse(text);
  CUPEL_RETURN_IF_ERROR(WithContext(id.status(), "agent_id"));
  return id;
}

absl::StatusOr<std::string> ParseEk(const std::string& text) {
  auto ek = crypto::ParseFingerprint(text);
  CUPEL_RETURN_IF_ERROR(WithContext(ek.status(), "ek_sha256"));
  return ek;
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
  } else if (member == "bank") {
    settings.bank = wanted.bank;
  } else if (member == "on_gap") {
    settings.on_gap = wanted.on_gap;
  } else if (member == "list_pcrs") {
    settings.list_pcrs = wanted.list_pcrs;
  } else if (member == "without_excludes") {
    settings.without_excludes = wanted.without_excludes;
  } else if (member == "tolerated_violations") {
    settings.tolerated_violations = wanted.tolerated_violations;
  } else if (member == "ima_policies") {
    settings.ima_policies = wanted.ima_policies;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("changed: settings have no member ", Quoted(member, 64)));
  }
  return absl::OkStatus();
}

// The agent's finding that `text` is the AcceptanceOf.
absl::Status Accept(const AgentRecord& agent, const std::string& text,
                    const AcceptedFinding& form,
                    std::vector<AcceptedFinding>& accepted) {
  const std::string id = text.substr(0, text.find('@'));
  if (!appraisal::IsAcceptable(id)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "accept: ", Quoted(id, 64),
        " is no finding that can be accepted: it would vouch for evidence that "
        "nobody knows"));
  }
  for (const appraisal::Finding& finding : agent.findings) {
    if (AcceptanceOf(finding) != text) continue;
    // Findings of an earlier boot stay on record until they are judged anew.
    if (agent.clock_info.has_value() &&
        finding.boot != tpm::CountsOf(*agent.clock_info)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "accept: the machine was booted since ", Quoted(text, 64),
          " was found; reactivate it without, and look at what "
          "is found in this boot"));
    }
    AcceptedFinding one = form;
    one.id = std::string(finding.id);
    one.path = finding.path;
    one.found = AcceptedText(finding);
    one.reset_count = finding.boot->reset_count;
    one.restart_count = finding.boot->restart_count;
    accepted.push_back(std::move(one));
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat(
      "accept: the agent has no finding ", Quoted(text, 256),
      "; explain shows those that it has, and what each is accepted by"));
}

// Only what the operator has looked at is approved, whatever the machine shows
// by the time that the request comes.
absl::Status CheckApproval(const AgentRecord& agent,
                           const std::string& boot_composite) {
  if (boot_composite.empty()) return absl::OkStatus();
  if (agent.settings.boot != "pinned") {
    return absl::FailedPreconditionError(
        "boot_composite: the agent's setting boot is not \"pinned\", so that "
        "no boot is approved");
  }
  if (agent.boot_composite != boot_composite) {
    return absl::FailedPreconditionError(absl::StrCat(
        "boot_composite: the agent shows ",
        agent.boot_composite.empty() ? "no boot yet" : agent.boot_composite,
        ", and not the one given: look again"));
  }
  return absl::OkStatus();
}

}  // namespace

v1::Agent FleetCommands::Show(const AgentRecord& record, Detail detail) {
  const absl::Time now = store_.Now();
  const absl::Duration interval = record.settings.interval.value_or(interval_);
  return ToProto(record, now, now - interval - grace_, detail);
}

absl::StatusOr<AgentFilter> FleetCommands::ParseSelector(
    const std::string& tenant, const v1::Selector& selector, bool default_all,
    std::optional<AgentId>& one) {
  const int ways = (selector.agent_id().empty() ? 0 : 1) +
                   (selector.labels().empty() ? 0 : 1) +
                   (selector.all() ? 1 : 0);
  if (ways > 1 || (ways == 0 && !default_all)) {
    return absl::InvalidArgumentError(
        "selector: give an agent's id, labels, or all, and one of them only");
  }
  if (!selector.agent_id().empty()) {
    CUPEL_ASSIGN_OR_RETURN(one, ParseId(selector.agent_id()));
  }
  AgentFilter filter;
  filter.tenant = tenant;
  filter.limit = kPageSize;
  CUPEL_ASSIGN_OR_RETURN(filter.labels, LabelsFromProto(selector.labels()));
  return filter;
}

absl::Status FleetCommands::ForEach(
    const std::string& tenant, const v1::Selector& selector, bool default_all,
    absl::FunctionRef<absl::Status(AgentRecord)> visit) {
  std::optional<AgentId> after;
  while (true) {
    CUPEL_ASSIGN_OR_RETURN(std::vector<AgentRecord> page,
                           Page(tenant, selector, default_all, after));
    if (page.empty()) return absl::OkStatus();
    after = page.back().id;
    for (AgentRecord& record : page) {
      CUPEL_RETURN_IF_ERROR(visit(std::move(record)));
    }
  }
}

absl::StatusOr<std::vector<AgentRecord>> FleetCommands::Page(
    const std::string& tenant, const v1::Selector& selector, bool default_all,
    const std::optional<AgentId>& after) {
  std::optional<AgentId> one;
  CUPEL_ASSIGN_OR_RETURN(AgentFilter filter,
                         ParseSelector(tenant, selector, default_all, one));
  if (!one.has_value()) {
    filter.after = after;
    return store_.ListAgents(filter);
  }
  std::vector<AgentRecord> page;
  if (after.has_value()) return page;
  CUPEL_ASSIGN_OR_RETURN(AgentRecord record, store_.GetAgent(tenant, *one));
  page.push_back(std::move(record));
  return page;
}

absl::StatusOr<v1::AddAgentReply> FleetCommands::Add(
    const OperatorIdentity& who, const v1::AddAgentRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseId(request.agent_id()));
  CUPEL_ASSIGN_OR_RETURN(const AgentSettings settings,
                         FromProto(request.settings()));
  const int ways = (request.ek_sha256().empty() ? 0 : 1) +
                   (request.trust_on_first_use() ? 1 : 0) +
                   (request.vouched() ? 1 : 0);
  if (ways != 1) {
    return absl::InvalidArgumentError(
        "give one of the EK's fingerprint, ek_sha256; the wish to trust "
        "whatever EK has the id, trust_on_first_use; and vouched, for an EK on "
        "the tenant's list or an agent that one of its tokens has brought");
  }
  std::string ek_sha256;
  if (!request.ek_sha256().empty()) {
    CUPEL_ASSIGN_OR_RETURN(ek_sha256, ParseEk(request.ek_sha256()));
  }
  const auto record =
      request.vouched()
          ? store_.AddVouchedAgent(who.tenant, id, settings, OperatorName(who))
          : store_.AddAgent(who.tenant, id, settings, ek_sha256,
                            OperatorName(who));
  CUPEL_RETURN_IF_ERROR(record.status());
  v1::AddAgentReply reply;
  *reply.mutable_agent() = Show(*record);
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
  std::optional<AgentId> one;
  CUPEL_ASSIGN_OR_RETURN(AgentFilter filter,
                         ParseSelector(who.tenant, request.selector(),
                                       /*default_all=*/false, one));
  const auto change = [&](AgentSettings& settings) -> absl::Status {
    for (const std::string& member : request.changed()) {
      CUPEL_RETURN_IF_ERROR(Change(member, wanted, settings));
    }
    return absl::OkStatus();
  };
  v1::UpdateAgentReply reply;
  const auto update = [&](const AgentId& id) -> absl::Status {
    // Those before it are updated: the update can be repeated.
    CUPEL_RETURN_IF_ERROR(WithContext(
        store_.UpdateAgent(who.tenant, id, change, OperatorName(who)),
        absl::StrCat("agent ", id.ToString())));
    reply.set_updated_count(reply.updated_count() + 1);
    return absl::OkStatus();
  };
  if (one.has_value()) {
    CUPEL_RETURN_IF_ERROR(update(*one));
    return reply;
  }
  while (true) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<AgentId> page,
                           store_.ListAgentIds(filter));
    if (page.empty()) return reply;
    filter.after = page.back();
    for (const AgentId& id : page) CUPEL_RETURN_IF_ERROR(update(id));
  }
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
  std::optional<AgentId> one;
  CUPEL_ASSIGN_OR_RETURN(AgentFilter filter,
                         ParseSelector(who.tenant, request.selector(),
                                       /*default_all=*/true, one));
  if (one.has_value()) {
    CUPEL_ASSIGN_OR_RETURN(const AgentRecord agent,
                           store_.GetAgent(who.tenant, *one));
    *reply.add_agents() = Show(agent, Detail::kSummary);
    return reply;
  }
  if (request.page_size() != 0) {
    filter.limit = std::min(request.page_size(), kPageSize);
  }
  if (!request.page_token().empty()) {
    auto after = AgentId::Parse(request.page_token());
    CUPEL_RETURN_IF_ERROR(WithContext(after.status(), "page_token"));
    filter.after = *after;
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<AgentRecord> agents,
                         store_.ListAgents(filter));
  size_t size = 0;
  for (const AgentRecord& agent : agents) {
    v1::Agent& shown = *reply.add_agents();
    shown = Show(agent, Detail::kSummary);
    size += shown.ByteSizeLong();
    const bool is_last = &agent == &agents.back();
    if (is_last ? agents.size() == filter.limit : size >= kMaxListSize) {
      reply.set_next_page_token(agent.id.ToString());
      break;
    }
  }
  return reply;
}

absl::StatusOr<v1::ListEnrolledReply> FleetCommands::ListEnrolled(
    const OperatorIdentity& who) {
  v1::ListEnrolledReply reply;
  CUPEL_ASSIGN_OR_RETURN(const std::vector<AgentRecord> unclaimed,
                         store_.ListUnclaimed());
  for (const AgentRecord& agent : unclaimed) {
    *reply.add_agents() = Show(agent);
  }
  // Those that a token of this tenant has brought.
  AgentFilter filter;
  filter.tenant = who.tenant;
  filter.state = AgentState::kEnrolled;
  filter.limit = kPageSize;
  while (true) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<AgentRecord> own,
                           store_.ListAgents(filter));
    if (own.empty()) return reply;
    filter.after = own.back().id;
    for (const AgentRecord& agent : own) *reply.add_agents() = Show(agent);
  }
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
  form.who = OperatorName(who);
  form.why = request.reason();
  form.time = store_.Now();
  Reactivation reactivation;
  for (const std::string& text : request.accept()) {
    CUPEL_RETURN_IF_ERROR(Accept(agent, text, form, reactivation.accepted));
  }
  reactivation.reset_counters = request.reset_counters();
  reactivation.boot_composite = absl::AsciiStrToLower(request.boot_composite());
  CUPEL_RETURN_IF_ERROR(CheckApproval(agent, reactivation.boot_composite));
  reactivation.why = request.reason();
  CUPEL_RETURN_IF_ERROR(
      store_.Reactivate(who.tenant, id, reactivation, OperatorName(who)));
  CUPEL_ASSIGN_OR_RETURN(const AgentRecord now,
                         store_.GetAgent(who.tenant, id));
  v1::ReactivateReply reply;
  *reply.mutable_agent() = Show(now);
  return reply;
}

absl::StatusOr<v1::AllowEksReply> FleetCommands::AllowEks(
    const OperatorIdentity& who, const v1::AllowEksRequest& request) {
  if (request.ek_sha256().empty() ||
      request.ek_sha256_size() > kMaxEksPerCall) {
    return absl::InvalidArgumentError(
        absl::StrCat("ek_sha256: give 1 to ", kMaxEksPerCall, " of them"));
  }
  std::vector<std::string> eks;
  for (const std::string& text : request.ek_sha256()) {
    CUPEL_ASSIGN_OR_RETURN(std::string ek, ParseEk(text));
    eks.push_back(std::move(ek));
  }
  CUPEL_RETURN_IF_ERROR(
      request.remove() ? store_.DisallowEks(who.tenant, eks, OperatorName(who))
                       : store_.AllowEks(who.tenant, eks, OperatorName(who)));
  return v1::AllowEksReply();
}

absl::StatusOr<v1::ListAllowedEksReply> FleetCommands::ListAllowedEks(
    const OperatorIdentity& who, const v1::ListAllowedEksRequest& request) {
  CUPEL_ASSIGN_OR_RETURN(
      const std::vector<AllowedEk> eks,
      store_.ListAllowedEks(who.tenant, request.page_token(), kPageSize));
  v1::ListAllowedEksReply reply;
  for (const AllowedEk& ek : eks) *reply.add_eks() = ToProto(ek);
  if (eks.size() == kPageSize) reply.set_next_page_token(eks.back().ek_sha256);
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
  // The store is asked for nobody who asks too often.
  if (!attest_now_buckets_.Take(who.tenant, SteadyNow())) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the tenant has agents attested at once more than ", max_attest_now_,
        " times a second (max_attest_now_per_tenant): try again later"));
  }
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
