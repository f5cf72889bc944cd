#include "tests/bench/verifier_process.h"

#include <filesystem>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tenant/rpc/fleet_client.h"

namespace cupel::bench {
namespace {

constexpr char kHost[] = "127.0.0.1";
constexpr absl::Duration kStartTimeout = absl::Seconds(60);
constexpr absl::Duration kCallTimeout = absl::Seconds(60);
constexpr size_t kMaxLogSize = size_t{256} << 20;
constexpr size_t kLogEnd = 2000;

// "attest ADDRESS" and so on, a line each.
std::map<std::string, std::string> ParseListening(absl::string_view text) {
  std::map<std::string, std::string> addresses;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<std::string, std::string> words =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    addresses.insert(words);
  }
  return addresses;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerifierProcess>> VerifierProcess::Start(
    const std::string& program, const std::string& folder,
    const std::vector<std::string>& settings) {
  std::unique_ptr<VerifierProcess> process(
      new VerifierProcess(program, folder));
  CUPEL_ASSIGN_OR_RETURN(
      const testing::CommandResult made,
      testing::RunCommand({program, "init", "--dir", process->PathOf("pki"),
                           "--name", "localhost", "--address", kHost}));
  if (made.exit_code != 0) {
    return absl::UnavailableError(absl::StrCat(program, " init: ", made.err));
  }
  const std::string pki = process->PathOf("pki");
  CUPEL_RETURN_IF_ERROR(WriteFile(
      process->PathOf("verifier.yaml"),
      absl::StrCat(
          "attest_listen: ", kHost, ":8891\nfleet_listen: ", kHost,
          ":8892\nmetrics_listen: off\nstate_dir: ", process->PathOf("state"),
          "\ntls_certificate: ", pki, "/server/certificate.pem\ntls_key: ", pki,
          "/server/key.pem\nclient_ca: ", pki, "/client-ca/certificate.pem\n",
          absl::StrJoin(settings, "\n"), "\n")));
  CUPEL_RETURN_IF_ERROR(process->Launch({"--free-ports"}));
  return process;
}

absl::Status VerifierProcess::Restart() {
  return Launch({"--set", absl::StrCat("attest_listen=", attest_), "--set",
                 absl::StrCat("fleet_listen=", fleet_)});
}

absl::Status VerifierProcess::Launch(const std::vector<std::string>& options) {
  const std::string listening = PathOf("state/listening");
  std::error_code ignored;
  std::filesystem::remove(listening, ignored);
  std::vector<std::string> arguments = {program_, "--config",
                                        PathOf("verifier.yaml")};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back("run");
  CUPEL_ASSIGN_OR_RETURN(
      server_, testing::Server::Start(arguments, PathOf("verifier.log")));
  const absl::Time end = absl::Now() + kStartTimeout;
  while (true) {
    const auto text = ReadFile(listening, size_t{1} << 10);
    if (text.ok()) {
      auto addresses = ParseListening(AsText(*text));
      attest_ = addresses["attest"];
      fleet_ = addresses["fleet"];
      if (!attest_.empty() && !fleet_.empty()) return absl::OkStatus();
    }
    if (absl::Now() > end || !UsageOf(server_->pid()).ok()) {
      return absl::UnavailableError(
          absl::StrCat(program_, " does not come up: ", LogEnd()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

absl::StatusOr<std::unique_ptr<tenant::Fleet>>
VerifierProcess::ConnectOperator() const {
  const std::string folder = PathOf("pki/operator");
  tenant::Connection connection{.host = kHost,
                                .ca = folder + "/ca.pem",
                                .certificate = folder + "/certificate.pem",
                                .key = folder + "/key.pem",
                                .timeout = kCallTimeout};
  const std::vector<std::string> parts = absl::StrSplit(fleet_, ':');
  uint32_t port = 0;
  if (!absl::SimpleAtoi(parts.back(), &port)) {
    return absl::InternalError(absl::StrCat("no port in ", fleet_));
  }
  connection.port = static_cast<uint16_t>(port);
  return tenant::FleetClient::Create(connection);
}

std::string VerifierProcess::ca_file() const {
  return PathOf("pki/ca/certificate.pem");
}

std::string VerifierProcess::LogEnd() const {
  const auto log = ReadFile(PathOf("verifier.log"), kMaxLogSize);
  if (!log.ok()) return std::string(log.status().message());
  const absl::string_view text = AsText(*log);
  return std::string(text.substr(text.size() - std::min(text.size(), kLogEnd)));
}

std::string VerifierProcess::PathOf(const std::string& name) const {
  return absl::StrCat(folder_, "/", name);
}

std::string ProgramBesideThis(const std::string& name) {
  std::error_code ignored;
  const std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", ignored);
  // BUILD/tests/bench/PROGRAM.
  return (self.parent_path().parent_path().parent_path() / name).string();
}

}  // namespace cupel::bench
