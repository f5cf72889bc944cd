#include "tests/integration/verifier_program.h"

#include <signal.h>

#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"

namespace cupel::verifier {
namespace {

using testing::IsOk;

constexpr auto kTick = std::chrono::milliseconds(5);
// Of a step that is bound to come; a machine may be very busy.
constexpr int kMaxTicks = 12'000;

std::string TextOrNothing(const std::string& path) {
  const auto bytes = ReadFile(path, 64 << 20);
  return bytes.ok() ? std::string(AsText(*bytes)) : std::string();
}

}  // namespace

VerifierProgram::VerifierProgram() {
  REQUIRE_THAT(
      WriteFile(config_path(),
                absl::StrCat(
                    "attest_listen: 127.0.0.1:8891\n"
                    "fleet_listen: 127.0.0.1:8892\n"
                    "metrics_listen: off\n",
                    "state_dir: ", folder / "state", "\n",
                    "tls_certificate: ", folder / "pki/server/certificate.pem",
                    "\n", "tls_key: ", folder / "pki/server/key.pem", "\n",
                    "client_ca: ", folder / "pki/client-ca/certificate.pem",
                    "\n", "accept_unknown_ek_issuer: true\n")),
      IsOk());
  const auto init = Run({"init", "--dir", folder / "pki", "--name", "localhost",
                         "--address", "127.0.0.1"});
  INFO(init.err);
  REQUIRE(init.exit_code == 0);
}

VerifierProgram::~VerifierProgram() = default;

testing::CommandResult VerifierProgram::Run(
    const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {CUPEL_VERIFIER, "--config",
                                      config_path()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  auto result = testing::RunCommand(command);
  REQUIRE_THAT(result.status(), IsOk());
  return *std::move(result);
}

void VerifierProgram::Launch(const std::vector<std::string>& settings) {
  server_.reset();
  std::error_code ignored;
  std::filesystem::remove(folder / "state/listening", ignored);
  listening_.clear();
  ++launches_;
  std::vector<std::string> command = {CUPEL_VERIFIER, "--config", config_path(),
                                      "--free-ports"};
  for (const std::string& setting : settings) {
    command.insert(command.end(), {"--set", setting});
  }
  command.push_back("run");
  auto started =
      testing::Server::Start(command, folder / absl::StrCat("log", launches_));
  REQUIRE_THAT(started.status(), IsOk());
  server_ = *std::move(started);
}

bool VerifierProgram::AwaitListening() {
  for (int i = 0; i < kMaxTicks; ++i) {
    // Written in one step: what is there is all of it.
    listening_ = TextOrNothing(folder / "state/listening");
    if (!listening_.empty()) return true;
    if (server_->Wait(kTick).ok()) return false;
  }
  FAIL(Log());
  return false;
}

void VerifierProgram::Start(const std::vector<std::string>& settings) {
  Launch(settings);
  const bool listens = AwaitListening();
  INFO(Log());
  REQUIRE(listens);
}

void VerifierProgram::Kill() {
  REQUIRE(kill(pid(), SIGKILL) == 0);
  REQUIRE_THAT(server_->Wait(std::chrono::seconds(60)).status(), IsOk());
  server_.reset();
}

int VerifierProgram::Terminate(std::chrono::milliseconds at_most) {
  REQUIRE(kill(pid(), SIGTERM) == 0);
  const auto code = server_->Wait(at_most);
  INFO(Log());
  REQUIRE_THAT(code.status(), IsOk());
  server_.reset();
  return *code;
}

std::string VerifierProgram::AddressOf(const std::string& listener) const {
  for (const absl::string_view line : absl::StrSplit(listening_, '\n')) {
    if (absl::StartsWith(line, listener + " ")) {
      return std::string(line.substr(listener.size() + 1));
    }
  }
  return "";
}

std::shared_ptr<grpc::Channel> VerifierProgram::Attest() const {
  return testing::TlsChannel(AddressOf("attest"),
                             folder / "pki/ca/certificate.pem", "");
}

std::shared_ptr<grpc::Channel> VerifierProgram::Fleet(
    const std::string& name) const {
  return testing::TlsChannel(AddressOf("fleet"),
                             folder / "pki/ca/certificate.pem",
                             folder / ("pki/" + name));
}

std::unique_ptr<SqlStore> VerifierProgram::OpenStore() const {
  std::filesystem::create_directories(folder / "state");
  auto store = SqlStore::Open(store_path());
  REQUIRE_THAT(store.status(), IsOk());
  return *std::move(store);
}

std::string VerifierProgram::Log() const {
  return TextOrNothing(folder / absl::StrCat("log", launches_));
}

void VerifierProgram::AwaitLog(const std::string& text) const {
  for (int i = 0; i < kMaxTicks; ++i) {
    if (absl::StrContains(Log(), text)) return;
    std::this_thread::sleep_for(kTick);
  }
  FAIL("no \"" << text << "\" in\n" << Log());
}

}  // namespace cupel::verifier
