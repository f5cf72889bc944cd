#include "tests/agent/agent_rig.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusOf;
using ::cupel::testing::SwTpm;

std::unique_ptr<SwTpm> StartCertified(const std::string& ca_folder) {
  SwTpm::SkipUnlessAvailable();
  std::filesystem::create_directory(ca_folder);
  auto tpm = SwTpm::StartCertified(ca_folder);
  REQUIRE_THAT(StatusOf(tpm), IsOk());
  return *std::move(tpm);
}

}  // namespace

AgentRig::AgentRig()
    : tpm_(StartCertified(folder_ / "tpm-ca")), verifier_(ca_.IssueServer()) {
  // What another user has to reach.
  REQUIRE(chmod(folder_.path().c_str(), 0755) == 0);
  REQUIRE_THAT(WriteFile(Path("ca.pem"), ca_.pem()), IsOk());
  settings_ = {{"verifiers", absl::StrCat("[\"", verifier_.address(), "\"]")},
               {"ca_file", Path("ca.pem")},
               {"agent_id", "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"},
               {"state_dir", Path("state")},
               {"tcti", tpm_->Tcti()},
               {"ima_list", Path("ima_list")},
               {"ima_count", "\"\""},
               {"backoff_min", "50ms"},
               {"backoff_max", "500ms"}};
  WriteConfig();
  Measure("hello");
}

void AgentRig::Set(const std::string& key, const std::string& value) {
  settings_[key] = value;
  WriteConfig();
}

void AgentRig::WriteConfig() {
  std::string text;
  for (const auto& [key, value] : settings_) {
    absl::StrAppend(&text, key, ": ", value, "\n");
  }
  REQUIRE_THAT(WriteFile(Path("agent.yaml"), text), IsOk());
}

std::vector<std::string> AgentRig::Command(
    const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {CUPEL_AGENT, "--config",
                                      Path("agent.yaml")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

testing::CommandResult AgentRig::Run(
    const std::vector<std::string>& arguments) {
  auto result = testing::RunCommand(Command(arguments));
  REQUIRE_THAT(StatusOf(result), IsOk());
  return *std::move(result);
}

std::unique_ptr<testing::Server> AgentRig::Start() {
  auto agent = testing::Server::Start(Command({"run"}), Path("agent.log"));
  REQUIRE_THAT(StatusOf(agent), IsOk());
  return *std::move(agent);
}

std::string AgentRig::Log() const {
  const auto text = ReadFile(Path("agent.log"), size_t{1} << 24);
  return text.ok() ? std::string(AsText(*text)) : "";
}

bool AgentRig::WaitForLog(const std::string& text) const {
  for (int i = 0; i < 6000; ++i) {
    if (absl::StrContains(Log(), text)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::vector<std::string> AgentRig::MeasureCommand(const std::string& text) {
  const std::string path = Path("program_" + text);
  REQUIRE_THAT(WriteFile(path, absl::StrCat("#!/bin/sh\necho ", text, "\n")),
               IsOk());
  REQUIRE(chmod(path.c_str(), 0755) == 0);
  return Command({"ima-emulator", "--", path});
}

void AgentRig::Measure(const std::string& text) {
  const auto result = testing::RunCommand(MeasureCommand(text));
  REQUIRE_THAT(StatusOf(result), IsOk());
  CAPTURE(*result);
  REQUIRE(result->exit_code == 0);
  REQUIRE(result->out == text + "\n");
}

}  // namespace cupel::agent
