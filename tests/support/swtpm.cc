#include "tests/support/swtpm.h"

#include <signal.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tests/support/skip.h"

namespace cupel::testing {
namespace {

constexpr size_t kMaxFileSize = size_t{1} << 20;

// Runs a program in `folder`; what it wrote to standard output.
absl::StatusOr<std::string> RunIn(const TemporaryFolder& folder,
                                  const std::vector<std::string>& arguments) {
  CommandOptions options;
  options.folder = folder.path();
  options.environment["TPM2TOOLS_TCTI"] = "swtpm:path=" + folder / "socket";
  // Making keys takes its time.
  options.timeout = std::chrono::minutes(2);
  CUPEL_ASSIGN_OR_RETURN(CommandResult result, RunCommand(arguments, options));
  if (result.exit_code != 0) {
    return absl::InternalError(absl::StrCat(absl::StrJoin(arguments, " "),
                                            ": exit code ", result.exit_code,
                                            ": ", result.out, result.err));
  }
  return std::move(result.out);
}

}  // namespace

bool SwTpm::IsAvailable() {
  return IsInPath("swtpm") && IsInPath("swtpm_setup") &&
         IsInPath("tpm2_quote") && IsInPath("tpm2_activatecredential");
}

void SwTpm::SkipUnlessAvailable() {
  if (!IsAvailable()) Skip("swtpm or tpm2-tools are not installed");
}

absl::StatusOr<std::unique_ptr<SwTpm>> SwTpm::Start(
    const std::vector<std::string>& setup_options) {
  std::unique_ptr<SwTpm> tpm(new SwTpm);
  const TemporaryFolder& folder = tpm->folder_;
  std::vector<std::string> setup = {"swtpm_setup", "--tpm2",      "--createek",
                                    "--tpmstate",  folder.path(), "--pcr-banks",
                                    "sha1,sha256"};
  setup.insert(setup.end(), setup_options.begin(), setup_options.end());
  CUPEL_RETURN_IF_ERROR(RunIn(folder, setup).status());
  CUPEL_RETURN_IF_ERROR(tpm->StartServer());
  return tpm;
}

absl::StatusOr<std::unique_ptr<SwTpm>> SwTpm::StartCertified(
    const std::string& ca_folder,
    const std::vector<std::string>& setup_options) {
  const std::string config = ca_folder + "/setup.conf";
  const std::string ca = ca_folder + "/ca.conf";
  const std::string options = ca_folder + "/ca.options";
  CUPEL_RETURN_IF_ERROR(WriteFile(
      config, absl::StrCat("create_certs_tool= /usr/bin/swtpm_localca\n",
                           "create_certs_tool_config = ", ca, "\n",
                           "create_certs_tool_options = ", options, "\n")));
  CUPEL_RETURN_IF_ERROR(WriteFile(
      ca,
      absl::StrCat("statedir = ", ca_folder, "\n", "signingkey = ", ca_folder,
                   "/signkey.pem\n", "issuercert = ", ca_folder,
                   "/issuer.pem\n", "certserial = ", ca_folder, "/serial\n")));
  CUPEL_RETURN_IF_ERROR(
      WriteFile(options,
                "--platform-manufacturer Cupel\n--platform-version 1.0\n"
                "--platform-model Test\n"));
  std::vector<std::string> arguments = {"--create-ek-cert", "--config", config};
  arguments.insert(arguments.end(), setup_options.begin(), setup_options.end());
  return Start(arguments);
}

std::string SwTpm::Tcti() const { return "swtpm:path=" + folder_ / "socket"; }

void SwTpm::Stall() { kill(server_->pid(), SIGSTOP); }
void SwTpm::Resume() { kill(server_->pid(), SIGCONT); }

void SwTpm::Kill() { server_.reset(); }

absl::Status SwTpm::Restart() {
  Kill();
  return StartServer();
}

absl::Status SwTpm::StartServer() {
  const TemporaryFolder& folder = folder_;
  const std::string log = folder / "swtpm.log";
  CUPEL_ASSIGN_OR_RETURN(
      server_, Server::Start({"swtpm", "socket", "--tpm2", "--tpmstate",
                              "dir=" + folder.path(), "--server",
                              "type=unixio,path=" + folder / "socket", "--ctrl",
                              "type=unixio,path=" + folder / "socket.ctrl",
                              "--flags", "not-need-init,startup-clear"},
                             log));
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(30);
  absl::Status status;
  do {
    status = RunIn(folder, {"tpm2_getrandom", "--hex", "1"}).status();
    if (status.ok()) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } while (std::chrono::steady_clock::now() < deadline);
  const auto said = ReadFile(log, kMaxFileSize);
  return absl::DeadlineExceededError(
      absl::StrCat(status.message(), said.ok() ? AsText(*said) : ""));
}

absl::StatusOr<std::string> SwTpm::RunWithoutFlush(
    const std::vector<std::string>& arguments) {
  return RunIn(folder_, arguments);
}

absl::Status SwTpm::Flush() {
  for (const char* kind : {"-t", "-l", "-s"}) {
    CUPEL_RETURN_IF_ERROR(RunIn(folder_, {"tpm2_flushcontext", kind}).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SwTpm::Run(
    const std::vector<std::string>& arguments) {
  CUPEL_ASSIGN_OR_RETURN(std::string output, RunWithoutFlush(arguments));
  CUPEL_RETURN_IF_ERROR(Flush());
  return output;
}

absl::StatusOr<std::vector<uint8_t>> SwTpm::Read(
    const std::string& name) const {
  return ReadFile(folder_ / name, kMaxFileSize);
}

absl::Status SwTpm::Write(const std::string& name,
                          std::span<const uint8_t> content) const {
  return WriteFile(folder_ / name, AsText(content));
}

}  // namespace cupel::testing
