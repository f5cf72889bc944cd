// The log lines that people look for, word for word.
#include "verifier/rpc/attestation_log.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/appraisal/finding.h"

namespace cupel::verifier {
namespace {

using appraisal::Appraisal;
using appraisal::Finding;
using appraisal::MakeFinding;
using appraisal::Severity;
using appraisal::Verdict;

constexpr char kId[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
AgentId Id() { return *AgentId::Parse(kId); }

// A log whose clock stands still.
class LogTest {
 public:
  explicit LogTest(LogFormat format = LogFormat::kText,
                   LogLevel least = LogLevel::kInfo)
      : log({.format = format,
             .least = least,
             .sink =
                 [this](absl::string_view line) {
                   absl::StrAppend(&text, line);
                 },
             .clock = [] { return absl::UnixEpoch(); }}) {}

  std::string text;
  Logger log;
};

Finding FindingFor(absl::string_view id, const std::string& path,
                   const std::string& found = "") {
  Finding finding = MakeFinding(id, Severity::kFailure, "a detail");
  finding.path = path;
  finding.found = found;
  return finding;
}

// What the guide's evil script makes of a list with 782 entries.
Appraisal EvilScript() {
  Appraisal appraisal;
  appraisal.verdict = Verdict::kFail;
  appraisal.counts.entries = 782;
  appraisal.counts.good = 781;
  appraisal.counts.not_in_policy = 1;
  appraisal.findings = {
      FindingFor("ima.not_in_policy", "/root/evil_script.sh")};
  return appraisal;
}

// The lines without what stands before the level.
std::string Lines(const std::string& text) {
  std::string lines = text;
  const std::string time = "1970-01-01T00:00:00.000Z ";
  for (size_t at = 0; (at = lines.find(time, at)) != std::string::npos;) {
    lines.erase(at, time.size());
  }
  return lines;
}

TEST_CASE("The guide's lines stand in the log as the guide has them") {
  LogTest test;
  LogAppraisalStart(Id(), test.log);
  LogAppraisal(Id(), EvilScript(), test.log);
  LogState(Id(), AgentState::kTrusted, AgentState::kFailed, test.log);
  CHECK(Lines(test.text) ==
        "INFO - Checking IMA measurement list... agent="
        "d432fbb3-d2f1-4a97-9ef7-75bd81c00000\n"
        "WARNING - File not found in allowlist: /root/evil_script.sh agent="
        "d432fbb3-d2f1-4a97-9ef7-75bd81c00000 finding=ima.not_in_policy\n"
        "ERROR - IMA ERRORS: template-hash 0 fnf 1 hash 0 good 781 agent="
        "d432fbb3-d2f1-4a97-9ef7-75bd81c00000 violations=0 other=0\n"
        "WARNING - agent d432fbb3-d2f1-4a97-9ef7-75bd81c00000 failed, stopping "
        "polling previous=TRUSTED note=\"appraised without trust until it is "
        "reactivated\"\n");
}

TEST_CASE("A file that was changed is named with what it holds now") {
  LogTest test;
  Appraisal appraisal = EvilScript();
  appraisal.counts.not_in_policy = 0;
  appraisal.counts.digest_mismatch = 1;
  appraisal.counts.template_digest = 2;
  appraisal.counts.violations = 3;
  appraisal.counts.other_failures = 4;
  appraisal.findings = {
      FindingFor("ima.digest_mismatch", "/usr/bin/less", "sha256:0123")};
  LogAppraisal(Id(), appraisal, test.log);
  CHECK(Lines(test.text) ==
        absl::StrCat("WARNING - Hashes for file /usr/bin/less don't match "
                     "sha256:0123 agent=",
                     kId,
                     " finding=ima.digest_mismatch\n"
                     "ERROR - IMA ERRORS: template-hash 2 fnf 0 hash 1 good "
                     "781 agent=",
                     kId, " violations=3 other=4\n"));
}

TEST_CASE("Other findings stand by their ids, and notices are no warnings") {
  LogTest test;
  Appraisal appraisal;
  appraisal.verdict = Verdict::kFail;
  Finding notice = FindingFor("boot.any", "");
  notice.severity = Severity::kNotice;
  appraisal.findings = {notice, FindingFor("ima.history_lost", "")};
  LogAppraisal(Id(), appraisal, test.log);
  CHECK(absl::StrContains(test.text, "WARNING - ima.history_lost: a detail"));
  CHECK_FALSE(absl::StrContains(test.text, "boot.any"));
}

TEST_CASE("A path can neither forge a line nor steer a terminal [A20]") {
  const std::string path =
      "/tmp/x\nERROR - IMA ERRORS: template-hash 0 fnf 0 hash 0 good 9\r\x1b[2J"
      "\x9b\\ \"";
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    for (const char* const id :
         {"ima.not_in_policy", "ima.digest_mismatch", "ima.violation"}) {
      CAPTURE(id);
      LogTest test(format);
      Appraisal appraisal = EvilScript();
      appraisal.findings = {FindingFor(id, path, path)};
      appraisal.findings[0].detail = path;
      LogAppraisal(Id(), appraisal, test.log);
      CHECK(std::ranges::count(test.text, '\n') == 2);
      for (const char c : test.text) {
        CHECK((c == '\n' || (c >= ' ' && c <= '~')));
      }
      CHECK(absl::StrContains(test.text, format == LogFormat::kJson
                                             ? "/tmp/x\\\\nERROR"
                                             : "/tmp/x\\nERROR"));
    }
  }
}

TEST_CASE("A path can't be taken for the fields behind it [A20]") {
  LogTest test;
  Appraisal appraisal = EvilScript();
  appraisal.findings = {
      FindingFor("ima.not_in_policy", "/x agent=of-somebody-else finding=y")};
  LogAppraisal(Id(), appraisal, test.log);
  CHECK(absl::StrContains(
      test.text,
      "File not found in allowlist: \"/x agent=of-somebody-else finding=y\" "
      "agent=d432fbb3"));
}

TEST_CASE("A thousand bad files are a few lines and a count") {
  LogTest test;
  Appraisal appraisal = EvilScript();
  appraisal.counts.not_in_policy = 1000;
  appraisal.findings.resize(1000, appraisal.findings.front());
  LogAppraisal(Id(), appraisal, test.log);
  CHECK(std::ranges::count(test.text, '\n') == 21);
  CHECK(absl::StrContains(test.text, "fnf 1000"));
}

TEST_CASE("As JSON each line is an object of the same words") {
  LogTest test(LogFormat::kJson);
  LogAppraisal(Id(), EvilScript(), test.log);
  CHECK(test.text ==
        absl::StrCat(
            R"({"time":"1970-01-01T00:00:00.000Z","level":"WARNING",)"
            R"("message":"File not found in allowlist: /root/evil_script.sh",)"
            R"("agent":")",
            kId, R"(","finding":"ima.not_in_policy"})", "\n",
            R"({"time":"1970-01-01T00:00:00.000Z","level":"ERROR",)"
            R"("message":"IMA ERRORS: template-hash 0 fnf 1 hash 0 good 781",)"
            R"("agent":")",
            kId, R"(","violations":0,"other":0})", "\n"));
}

TEST_CASE("Passes and unchanged states are no news") {
  LogTest test;
  Appraisal appraisal;
  appraisal.verdict = Verdict::kPass;
  LogAppraisal(Id(), appraisal, test.log);
  LogState(Id(), AgentState::kTrusted, AgentState::kTrusted, test.log);
  CHECK(test.text.empty());
  LogState(Id(), AgentState::kPending, AgentState::kTrusted, test.log);
  CHECK(Lines(test.text) ==
        absl::StrCat("INFO - agent ", kId, " is TRUSTED previous=PENDING\n"));
  LogTest debug(LogFormat::kText, LogLevel::kDebug);
  LogAppraisal(Id(), appraisal, debug.log);
  CHECK(absl::StrContains(debug.text, "DEBUG - appraisal passed"));
}

}  // namespace
}  // namespace cupel::verifier
