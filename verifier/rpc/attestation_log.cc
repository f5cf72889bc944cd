#include "verifier/rpc/attestation_log.h"

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/util/escape.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Severity;

// The rest is in the store, and counted in the last line.
constexpr size_t kMaxFindingLines = 20;
constexpr size_t kMaxPathSize = 8192;

// A name with a blank in it could go on like the fields behind the message.
std::string PathText(absl::string_view path) {
  return path.find_first_of(" =\"") == absl::string_view::npos
             ? EscapeForDisplay(path)
             : Quoted(path, kMaxPathSize);
}

std::string Line(const Finding& finding) {
  const std::string path = PathText(finding.path);
  if (finding.id == "ima.not_in_policy") {
    return absl::StrCat("File not found in allowlist: ", path);
  }
  if (finding.id == "ima.digest_mismatch") {
    return absl::StrCat("Hashes for file ", path, " don't match ",
                        EscapeForDisplay(finding.found));
  }
  std::string line(finding.id);
  if (!path.empty()) absl::StrAppend(&line, ": ", path);
  if (!finding.detail.empty()) {
    absl::StrAppend(&line, ": ", EscapeForDisplay(finding.detail));
  }
  return line;
}

}  // namespace

void LogAppraisalStart(const AgentId& agent, Logger& log) {
  log.Info("Checking IMA measurement list...", {{"agent", agent.ToString()}});
}

void LogAppraisal(const AgentId& agent, const appraisal::Appraisal& appraisal,
                  Logger& log) {
  const std::string id = agent.ToString();
  size_t lines = 0;
  for (const Finding& finding : appraisal.findings) {
    if (finding.severity == Severity::kNotice) continue;
    if (++lines > kMaxFindingLines) break;
    log.Warning(Line(finding), {{"agent", id}, {"finding", finding.id}});
  }
  const appraisal::EntryCounts& counts = appraisal.counts;
  if (appraisal.verdict == appraisal::Verdict::kPass) {
    log.Debug("appraisal passed", {{"agent", id}, {"entries", counts.entries}});
    return;
  }
  log.Error(absl::StrCat("IMA ERRORS: template-hash ", counts.template_digest,
                         " fnf ", counts.not_in_policy, " hash ",
                         counts.digest_mismatch, " good ", counts.good),
            {{"agent", id},
             {"violations", counts.violations},
             {"other", counts.other_failures}});
}

void LogState(const AgentId& agent, AgentState previous, AgentState state,
              Logger& log) {
  if (state == previous) return;
  const std::string id = agent.ToString();
  if (state == AgentState::kFailed) {
    // Word for word what Keylime's users look for. What stops is that the
    // machine is asked as one that is trusted.
    log.Warning(absl::StrCat("agent ", id, " failed, stopping polling"),
                {{"previous", AgentStateName(previous)},
                 {"note", "appraised without trust until it is reactivated"}});
    return;
  }
  log.Info(absl::StrCat("agent ", id, " is ", AgentStateName(state)),
           {{"previous", AgentStateName(previous)}});
}

}  // namespace cupel::verifier
