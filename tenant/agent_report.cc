#include "tenant/agent_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/util/escape.h"
#include "tenant/finding_report.h"
#include "tenant/table.h"

namespace cupel::tenant {
namespace {

using Json = nlohmann::ordered_json;

// A machine can bring about very many.
constexpr size_t kShownFindings = 50;

std::string Joined(const std::vector<std::string>& names) {
  return names.empty() ? "-"
                       : absl::StrJoin(names, ", ",
                                       [](std::string* out, const auto& name) {
                                         *out += EscapeForDisplay(name);
                                       });
}

std::string BootText(const AgentSettings& settings) {
  if (settings.boot.empty()) return "no rule, so it can't pass";
  if (settings.boot == "any" || settings.boot == "pinned") return settings.boot;
  return "tpm_policy";
}

Json ToJson(const AgentSettings& settings) {
  Json json;
  json["policies"] = Json::array();
  for (const std::string& name : settings.policies) {
    json["policies"].push_back(EscapeForJson(name));
  }
  json["without_excludes"] = Json::array();
  for (const std::string& name : settings.without_excludes) {
    json["without_excludes"].push_back(EscapeForJson(name));
  }
  json["labels"] = Json::object();
  for (const auto& [key, value] : settings.labels) {
    json["labels"][EscapeForJson(key)] = EscapeForJson(value);
  }
  json["boot"] = EscapeForJson(settings.boot);
  json["lab"] = settings.lab;
  json["allow_sha1_bank"] = settings.allow_sha1_bank;
  json["tolerate_violations"] = settings.tolerate_violations;
  json["tolerated_violations"] = Json::array();
  for (const std::string& pattern : settings.tolerated_violations) {
    json["tolerated_violations"].push_back(EscapeForJson(pattern));
  }
  json["padded_sha1_banks"] = Json::array();
  for (const std::string& bank : settings.padded_sha1_banks) {
    json["padded_sha1_banks"].push_back(EscapeForJson(bank));
  }
  if (settings.interval.has_value()) {
    json["interval_seconds"] = absl::ToDoubleSeconds(*settings.interval);
  }
  json["ima_policies"] = Json::array();
  for (const std::string& path : settings.ima_policies) {
    json["ima_policies"].push_back(EscapeForJson(path));
  }
  if (!settings.bank.empty()) json["bank"] = EscapeForJson(settings.bank);
  if (!settings.list_pcrs.empty()) json["list_pcrs"] = settings.list_pcrs;
  if (!settings.on_gap.empty()) {
    json["on_gap"] = EscapeForJson(settings.on_gap);
  }
  return json;
}

void AddTime(Json& json, const char* name,
             const std::optional<absl::Time>& time) {
  if (time.has_value()) json[name] = TimeText(time);
}

Json ToJson(const std::vector<ReportedFinding>& findings) {
  Json json = Json::array();
  for (const ReportedFinding& finding : findings) {
    json.push_back(ToJson(finding));
  }
  return json;
}

Json ToJson(const std::vector<JudgedPolicy>& policies) {
  Json json = Json::array();
  for (const JudgedPolicy& policy : policies) {
    json.push_back({{"policy", EscapeForJson(policy.name)},
                    {"content_id", EscapeForJson(policy.content_id)}});
  }
  return json;
}

std::string AcceptanceText(const ReportedAcceptance& finding) {
  return absl::StrCat(
      EscapeForDisplay(finding.id), finding.path.empty() ? "" : " ",
      EscapeForDisplay(finding.path), " in boot ", finding.reset_count, ".",
      finding.restart_count, ", by ", EscapeForDisplay(finding.who), " at ",
      TimeText(finding.time), ": ", EscapeForDisplay(finding.why));
}

Json ToJson(const ReportedAcceptance& finding) {
  Json json;
  json["id"] = EscapeForJson(finding.id);
  if (!finding.path.empty()) json["path"] = EscapeForJson(finding.path);
  if (!finding.found.empty()) json["found"] = EscapeForJson(finding.found);
  json["reset_count"] = finding.reset_count;
  json["restart_count"] = finding.restart_count;
  json["who"] = EscapeForJson(finding.who);
  json["why"] = EscapeForJson(finding.why);
  json["time"] = TimeText(finding.time);
  return json;
}

}  // namespace

std::string TimeText(const std::optional<absl::Time>& time) {
  if (!time.has_value()) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *time, absl::UTCTimeZone());
}

std::string LabelsText(const std::map<std::string, std::string>& labels) {
  if (labels.empty()) return "-";
  return absl::StrJoin(labels, " ", [](std::string* out, const auto& label) {
    absl::StrAppend(out, EscapeForDisplay(label.first), "=",
                    EscapeForDisplay(label.second));
  });
}

std::string AgentText(const ReportedAgent& agent) {
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](const char* name, std::string value) {
    rows.push_back({absl::StrCat(name, ":"), std::move(value)});
  };
  const AgentSettings& settings = agent.settings;
  row("agent", EscapeForDisplay(agent.id));
  row("state",
      absl::StrCat(agent.ShownState(),
                   agent.ShownState() == AgentStateName(agent.state)
                       ? ""
                       : absl::StrCat(" (", AgentStateName(agent.state),
                                      ", and silent)"),
                   agent.state_reason.empty() ? "" : ": ",
                   EscapeForDisplay(agent.state_reason)));
  row("valid until", TimeText(agent.valid_until));
  row("last attested", absl::StrCat(TimeText(agent.last_attested), ", ",
                                    agent.attestation_count, " times"));
  row("last seen", TimeText(agent.last_seen));
  row("EK SHA-256",
      agent.ek_sha256.empty() ? "-" : EscapeForDisplay(agent.ek_sha256));
  row("policies", Joined(settings.policies));
  if (!settings.without_excludes.empty()) {
    row("no excludes of", Joined(settings.without_excludes));
  }
  row("labels", LabelsText(settings.labels));
  row("boot", BootText(settings));
  row("PCR 0-9", agent.boot_composite.empty()
                     ? "-"
                     : EscapeForDisplay(agent.boot_composite));
  if (settings.boot == "pinned") {
    row("approved boot", agent.pinned_boot_composite.empty()
                             ? "none: see reactivate --approve-boot"
                             : EscapeForDisplay(agent.pinned_boot_composite));
  }
  std::vector<std::string> allowances;
  if (settings.lab) allowances.emplace_back("lab");
  if (settings.allow_sha1_bank) allowances.emplace_back("SHA-1 bank");
  if (settings.tolerate_violations) allowances.emplace_back("violations");
  for (const std::string& bank : settings.padded_sha1_banks) {
    allowances.push_back(absl::StrCat("SHA-1 padded in ", bank));
  }
  if (!allowances.empty()) row("allowed", Joined(allowances));
  if (!settings.tolerated_violations.empty()) {
    row("violations of", Joined(settings.tolerated_violations));
  }
  if (!settings.ima_policies.empty()) {
    row("IMA policy", Joined(settings.ima_policies));
  }
  row("entries", absl::StrCat(agent.entry_count, ", ", agent.good_count,
                              " good, ", agent.excluded_count, " excluded"));
  for (const JudgedPolicy& policy : agent.judged_policies) {
    row("judged by", absl::StrCat(EscapeForDisplay(policy.name), " ",
                                  EscapeForDisplay(policy.content_id)));
  }
  for (const ReportedAcceptance& finding : agent.accepted) {
    row("accepted", AcceptanceText(finding));
  }
  row("findings", absl::StrCat(agent.finding_count));
  std::string text = FormatTable(rows);
  for (size_t i = 0; i < agent.findings.size() && i < kShownFindings; ++i) {
    absl::StrAppend(&text, "  ", FindingLine(agent.findings[i]), "\n");
  }
  if (agent.findings.size() > kShownFindings) {
    absl::StrAppend(&text, "  and ", agent.findings.size() - kShownFindings,
                    " more: --json shows them\n");
  }
  return text;
}

std::string AgentTable(const std::vector<ReportedAgent>& agents) {
  std::vector<std::vector<std::string>> rows = {
      {"AGENT", "STATE", "LAST ATTESTED", "LABELS", "FIRST FINDING"}};
  for (const ReportedAgent& agent : agents) {
    rows.push_back(
        {EscapeForDisplay(agent.id), std::string(agent.ShownState()),
         TimeText(agent.last_attested), LabelsText(agent.settings.labels),
         agent.findings.empty() ? "" : FindingWords(agent.findings.front())});
  }
  return FormatTable(rows);
}

Json ToJson(const ReportedAgent& agent) {
  Json json;
  json["agent"] = EscapeForJson(agent.id);
  json["state"] = std::string(AgentStateName(agent.state));
  json["shown_state"] = std::string(agent.ShownState());
  json["live"] = agent.live;
  json["trusted"] = agent.IsTrusted();
  json["reason"] = EscapeForJson(agent.state_reason);
  AddTime(json, "valid_until", agent.valid_until);
  AddTime(json, "last_attested", agent.last_attested);
  AddTime(json, "last_seen", agent.last_seen);
  json["ek_sha256"] = EscapeForJson(agent.ek_sha256);
  json["settings"] = ToJson(agent.settings);
  json["entries"] = agent.entry_count;
  json["good"] = agent.good_count;
  json["excluded"] = agent.excluded_count;
  json["attestations"] = agent.attestation_count;
  json["reset_count"] = agent.reset_count;
  json["restart_count"] = agent.restart_count;
  json["boot_composite"] = EscapeForJson(agent.boot_composite);
  json["approved_boot_composite"] = EscapeForJson(agent.pinned_boot_composite);
  json["judged_by"] = ToJson(agent.judged_policies);
  json["accepted"] = Json::array();
  for (const ReportedAcceptance& finding : agent.accepted) {
    json["accepted"].push_back(ToJson(finding));
  }
  json["finding_count"] = agent.finding_count;
  json["findings"] = ToJson(agent.findings);
  return json;
}

Json ToJson(const FleetEvent& event) {
  Json json;
  json["time"] = TimeText(event.time);
  json["agent"] = EscapeForJson(event.id);
  json["state"] = std::string(AgentStateName(event.state));
  if (event.previous != AgentState::kUnknown) {
    json["previous"] = std::string(AgentStateName(event.previous));
  }
  json["text"] = EscapeForJson(event.text);
  if (!event.judged_policies.empty()) {
    json["judged_by"] = ToJson(event.judged_policies);
  }
  json["findings"] = ToJson(event.findings);
  return json;
}

Json ToJson(const PolicyInfo& info) {
  Json json;
  json["name"] = EscapeForJson(info.name);
  json["content_id"] = EscapeForJson(info.content_id);
  json["version"] = info.version;
  json["size"] = info.size;
  json["digests"] = info.digest_count;
  json["agents"] = info.agent_count;
  if (info.created.has_value()) json["created"] = TimeText(info.created);
  return json;
}

ExitCode ExitCodeFor(const ReportedAgent& agent) {
  return agent.IsTrusted() ? ExitCode::kOk : ExitCode::kFindings;
}

}  // namespace cupel::tenant
