#include "tests/vm/lab.h"

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <span>
#include <system_error>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/crypto/pcr.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::vm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kSkipped = 77;
constexpr size_t kMaxFileSize = size_t{64} << 20;
constexpr std::chrono::seconds kVerifierTimeout{30};

std::string Program(const std::string& name) {
  return absl::StrCat(CUPEL_BINARY_DIR "/", name);
}

absl::StatusOr<testing::CommandResult> Succeed(
    const std::vector<std::string>& arguments,
    const testing::CommandOptions& options = {}) {
  CUPEL_ASSIGN_OR_RETURN(testing::CommandResult result,
                         testing::RunCommand(arguments, options));
  if (result.exit_code != 0) {
    return absl::InternalError(absl::StrCat(absl::StrJoin(arguments, " "),
                                            ": exit code ", result.exit_code,
                                            ": ", result.out, result.err));
  }
  return result;
}

std::string TextOf(const std::string& path) {
  const auto bytes = ReadFile(path, kMaxFileSize);
  return bytes.ok() ? std::string(AsText(*bytes)) : "";
}

}  // namespace

std::string ImagePath(const std::string& name) {
  return absl::StrCat(CUPEL_BINARY_DIR "/vm/", name);
}

std::vector<uint8_t> PcrExtendCommand(uint32_t pcr,
                                      const crypto::Digest& digest) {
  const std::span<const uint8_t> value = digest.bytes();
  std::vector<uint8_t> command;
  const auto add = [&command](uint32_t number, int size) {
    for (int i = size - 1; i >= 0; --i) {
      command.push_back(static_cast<uint8_t>(number >> (8 * i)));
    }
  };
  add(0x8002, 2);  // TPM_ST_SESSIONS
  add(static_cast<uint32_t>(33 + value.size()), 4);
  add(0x182, 4);  // TPM_CC_PCR_Extend
  add(pcr, 4);
  add(9, 4);  // the session: TPM_RS_PW, no nonce, no attributes, no password
  add(0x40000009, 4);
  add(0, 4);
  add(0, 1);
  add(1, 4);  // one digest
  add(crypto::BankTcgId(digest.algorithm()).value(), 2);
  command.insert(command.end(), value.begin(), value.end());
  return command;
}

absl::StatusOr<std::unique_ptr<Lab>> Lab::Create(const LabOptions& options) {
  if (const std::string why = TextOf(ImagePath(options.image.unavailable));
      !why.empty()) {
    std::cout << "skipped: " << why << std::flush;
    std::_Exit(kSkipped);
  }
  std::unique_ptr<Lab> lab(new Lab);
  lab->image_ = options.image;
  lab->disk_megabytes_ = options.disk_megabytes;
  CUPEL_RETURN_IF_ERROR(
      Succeed({CUPEL_SOURCE_DIR "/packaging/guest/tpm.sh", lab->Path("tpm"),
               ImagePath("ca"), options.banks})
          .status());
  CUPEL_RETURN_IF_ERROR(
      Succeed({"cp", "-a", ImagePath(options.image.root), lab->Path("root")})
          .status());
  if (std::getenv("CUPEL_VM_KEEP") != nullptr) {  // Keep
    CUPEL_RETURN_IF_ERROR(Succeed({"install", Program("tests/vm/quote_tool"),
                                   lab->RootPath("/usr/bin/quote-tool")})
                              .status());
  }
  CUPEL_RETURN_IF_ERROR(lab->StartVerifier(options));
  CUPEL_RETURN_IF_ERROR(lab->AddFile(
      "/etc/cupel/ca.pem", TextOf(lab->Path("pki/ca/certificate.pem"))));
  return lab;
}

absl::Status Lab::StartVerifier(const LabOptions& options) {
  const std::string verifier = Program("verifier/cupel-verifier");
  CUPEL_RETURN_IF_ERROR(
      Succeed({verifier, "init", "--dir", Path("pki"), "--name", "localhost",
               "--address", "127.0.0.1", "--address", "10.0.2.100"})
          .status());
  std::string settings = absl::StrCat(
      "attest_listen: 127.0.0.1:8891\nfleet_listen: 127.0.0.1:8892\n"
      "metrics_listen: off\nstate_dir: ",
      Path("verifier"),
      "\ntls_certificate: ", Path("pki/server/certificate.pem"),
      "\ntls_key: ", Path("pki/server/key.pem"),
      "\nclient_ca: ", Path("pki/client-ca/certificate.pem"),
      "\nek_roots: ", ImagePath("ca/roots"), "\n");
  for (const std::string& line : options.verifier_settings) {
    absl::StrAppend(&settings, line, "\n");
  }
  CUPEL_RETURN_IF_ERROR(WriteFile(Path("verifier.yaml"), settings));
  CUPEL_ASSIGN_OR_RETURN(
      verifier_,
      testing::Server::Start(
          {verifier, "--config", Path("verifier.yaml"), "--free-ports", "run"},
          Path("verifier.log")));
  const auto deadline = Clock::now() + kVerifierTimeout;
  std::string listening;
  while ((listening = TextOf(Path("verifier/listening"))).empty()) {
    if (Clock::now() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the verifier does not start: ", VerifierLog()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (const absl::string_view line : absl::StrSplit(listening, '\n')) {
    uint32_t port = 0;
    const size_t colon = line.rfind(':');
    if (colon == absl::string_view::npos ||
        !absl::SimpleAtoi(line.substr(colon + 1), &port)) {
      continue;
    }
    if (absl::StartsWith(line, "attest")) {
      attest_port_ = static_cast<uint16_t>(port);
    } else if (absl::StartsWith(line, "fleet")) {
      fleet_port_ = static_cast<uint16_t>(port);
    }
  }
  std::string agent = absl::StrCat(
      "verifiers: [\"10.0.2.100:8891\"]\nca_file: /etc/cupel/ca.pem\n"
      "agent_id: ",
      kAgentId, "\n");
  for (const std::string& line : options.agent_settings) {
    absl::StrAppend(&agent, line, "\n");
  }
  return AddFile("/etc/cupel/agent.yaml", agent);
}

std::string Lab::RootPath(const std::string& path) const {
  return absl::StrCat(Path("root"), path);
}

absl::Status Lab::AddFile(const std::string& path, const std::string& content) {
  std::error_code error;
  fs::create_directories(fs::path(RootPath(path)).parent_path(), error);
  return WriteFile(RootPath(path), content);
}

absl::Status Lab::AddScript(const std::string& path, const std::string& text) {
  CUPEL_RETURN_IF_ERROR(
      AddFile(path, absl::StrCat("#!/bin/sh\necho '", text, "'\n")));
  std::error_code error;
  fs::permissions(RootPath(path), fs::perms(0755), error);
  return error ? absl::InternalError(error.message()) : absl::OkStatus();
}

absl::Status Lab::Boot(const std::string& append,
                       testing::MachineOptions options) {
  if (!has_disk_) {
    std::vector<std::string> command = {CUPEL_SOURCE_DIR
                                        "/packaging/guest/disk.sh",
                                        Path("root"), Path("disk")};
    if (disk_megabytes_ != 0) {
      command.push_back(absl::StrCat(disk_megabytes_));
    }
    CUPEL_RETURN_IF_ERROR(Succeed(command).status());
    has_disk_ = true;
  }
  options.kernel = ImagePath("kernel");
  options.initramfs = ImagePath(image_.initramfs);
  options.disk = Path("disk");
  options.tpm = Path("tpm");
  options.append = append;
  options.verifier_port = attest_port_;
  machine_.reset();
  CUPEL_ASSIGN_OR_RETURN(machine_, testing::VirtualMachine::Boot(options));
  return absl::OkStatus();
}

absl::Status Lab::LoadImaPolicy(const std::string& name) {
  const std::string policy =
      TextOf(absl::StrCat(CUPEL_SOURCE_DIR "/packaging/ima/", name));
  if (policy.empty()) return absl::NotFoundError(name);
  return Load(policy);
}

absl::Status Lab::LoadImaRules(const std::string& lines) {
  // procfs, sysfs, debugfs, tmpfs, ramfs, securityfs.
  return Load(
      absl::StrCat("dont_measure fsmagic=0x9fa0\n"
                   "dont_measure fsmagic=0x62656572\n"
                   "dont_measure fsmagic=0x64626720\n"
                   "dont_measure fsmagic=0x01021994\n"
                   "dont_measure fsmagic=0x858458f6\n"
                   "dont_measure fsmagic=0x73636673\n",
                   lines));
}

absl::Status Lab::Load(const std::string& policy) {
  // In one write: each is a load of its own.
  return machine_
      ->Do(absl::StrCat("cat > /run/ima-policy <<'END'\n", policy,
                        "\nEND\ncat /run/ima-policy > "
                        "/sys/kernel/security/ima/policy"))
      .status();
}

absl::Status Lab::StartAgent() {
  return machine_
      ->Do("setsid cupel-agent run >>/run/agent.log 2>&1 </dev/null &")
      .status();
}

absl::Status Lab::KillAgent() {
  return machine_->Do("killall -9 cupel-agent").status();
}

absl::Status Lab::SendToTpm(const std::vector<std::vector<uint8_t>>& commands) {
  // An answer's header ends with its code.
  std::string script = "exec 5<>/dev/tpmrm0\nfor command in";
  for (const std::vector<uint8_t>& command : commands) {
    absl::StrAppend(&script, " ", absl::Base64Escape(AsText(command)));
  }
  absl::StrAppend(&script,
                  "; do\necho $command | base64 -d >/run/command\n"
                  "cat /run/command >&5\n"
                  "code=$(head -c 10 <&5 | tail -c 4 | od -An -tx1)\n"
                  "[ \"$code\" = ' 00 00 00 00' ] || { echo $code; exit 1; }\n"
                  "done");
  return machine_->Do(script).status();
}

std::string Lab::AgentLog() {
  const auto log = machine_->Run("cat /run/agent.log");
  return log.ok() ? log->out : log.status().ToString();
}

absl::StatusOr<std::string> Lab::FetchList() {
  CUPEL_ASSIGN_OR_RETURN(
      const std::string list,
      machine_->Read("/sys/kernel/security/ima/binary_runtime_measurements"));
  const std::string path = Path("list");
  CUPEL_RETURN_IF_ERROR(WriteFile(path, list));
  return path;
}

absl::StatusOr<std::string> Lab::FetchPcrs(const std::string& bank) {
  CUPEL_ASSIGN_OR_RETURN(
      const std::string values,
      machine_->Do(absl::StrCat(
          "for i in $(seq 0 23); do read v </sys/class/tpm/tpm0/pcr-", bank,
          "/$i; printf 'PCR-%02d: %s\n' $i \"$(echo $v | sed 's/../& /g')\"; "
          "done")));
  const std::string path = Path(absl::StrCat("pcrs-", bank));
  CUPEL_RETURN_IF_ERROR(WriteFile(path, values));
  return path;
}

absl::StatusOr<testing::CommandResult> Lab::Offline(
    const std::vector<std::string>& arguments) {
  std::vector<std::string> line = {Program("tenant/cupel-tenant")};
  line.insert(line.end(), arguments.begin(), arguments.end());
  return testing::RunCommand(line);
}

testing::CommandOptions Lab::ConnectionOptions() const {
  testing::CommandOptions options;
  options.environment = {
      {"CUPEL_TENANT_VERIFIER", absl::StrCat("127.0.0.1:", fleet_port_)},
      {"CUPEL_TENANT_CA_FILE", Path("pki/operator/ca.pem")},
      {"CUPEL_TENANT_CERTIFICATE", Path("pki/operator/certificate.pem")},
      {"CUPEL_TENANT_KEY", Path("pki/operator/key.pem")}};
  return options;
}

absl::StatusOr<testing::CommandResult> Lab::Tenant(
    const std::vector<std::string>& arguments) {
  std::vector<std::string> line = {Program("tenant/cupel-tenant")};
  line.insert(line.end(), arguments.begin(), arguments.end());
  return testing::RunCommand(line, ConnectionOptions());
}

absl::StatusOr<std::unique_ptr<testing::Server>> Lab::Watch(
    const std::string& log_path) {
  return testing::Server::Start(
      {Program("tenant/cupel-tenant"), "watch", kAgentId, "--json"}, log_path,
      ConnectionOptions());
}

absl::Status Lab::Add(const std::vector<std::string>& options) {
  CUPEL_ASSIGN_OR_RETURN(const std::string identity,
                         machine_->Do("cupel-agent identity"));
  std::string ek;
  for (const absl::string_view line : absl::StrSplit(identity, '\n')) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "EK sha256:")) {
      ek = std::string(absl::StripAsciiWhitespace(rest));
    }
  }
  std::vector<std::string> arguments = {"add", kAgentId, "--ek",
                                        ek,    "--boot", "any"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  CUPEL_ASSIGN_OR_RETURN(const testing::CommandResult result,
                         Tenant(arguments));
  if (result.exit_code != 0) return absl::InternalError(result.err);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Lab::MakePolicy(const std::string& algorithm,
                                            const std::string& list) {
  std::string path = Path(absl::StrCat("policy-", algorithm, ".json"));
  std::vector<std::string> arguments = {
      "policy",     "create",      "--rootfs",
      Path("root"), "--initramfs", ImagePath(image_.initramfs),
      "--algo",     algorithm,     "-o",
      path};
  if (!list.empty()) {
    arguments.insert(arguments.end(), {"--ima-list", list, "--buffers"});
  }
  CUPEL_ASSIGN_OR_RETURN(const testing::CommandResult result,
                         Offline(arguments));
  if (result.exit_code != 0) return absl::InternalError(result.err);
  return path;
}

absl::StatusOr<nlohmann::json> Lab::Status() {
  CUPEL_ASSIGN_OR_RETURN(const testing::CommandResult result,
                         Tenant({"status", kAgentId, "--json"}));
  nlohmann::json status =
      nlohmann::json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  if (!status.is_object()) {
    return absl::InternalError(absl::StrCat(result.out, result.err));
  }
  return status;
}

absl::Status Lab::AwaitState(const std::string& state,
                             std::chrono::seconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::string shown;
  while (Clock::now() < deadline) {
    CUPEL_ASSIGN_OR_RETURN(const nlohmann::json status, Status());
    shown = status.dump(1);
    const std::string now = status.value("state", "");
    if (now == state) return absl::OkStatus();
    if (now == "FAILED") {
      return absl::FailedPreconditionError(absl::StrCat("FAILED: ", shown));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return absl::DeadlineExceededError(
      absl::StrCat("not ", state, ": ", shown, "\n", AgentLog()));
}

absl::Status Lab::AwaitStateOfNow(const std::string& state,
                                  std::chrono::seconds timeout) {
  CUPEL_ASSIGN_OR_RETURN(
      const std::string text,
      machine_->Read("/sys/kernel/security/ima/runtime_measurements_count"));
  uint64_t count = 0;
  if (!absl::SimpleAtoi(text, &count)) return absl::InternalError(text);
  CUPEL_ASSIGN_OR_RETURN(const nlohmann::json before, Status());
  const uint64_t attestations = before.value("attestations", uint64_t{0});
  const auto deadline = Clock::now() + timeout;
  std::string shown;
  while (Clock::now() < deadline) {
    CUPEL_ASSIGN_OR_RETURN(const nlohmann::json status, Status());
    shown = status.dump(1);
    const std::string now = status.value("state", "");
    if (now == "FAILED" && now != state) {
      return absl::FailedPreconditionError(absl::StrCat("FAILED: ", shown));
    }
    if (now == state && status.value("entries", uint64_t{0}) >= count &&
        status.value("attestations", uint64_t{0}) > attestations) {
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "not ", state, " with ", count, " entries: ", shown, "\n", AgentLog()));
}

absl::StatusOr<std::vector<std::string>> Lab::Findings() {
  CUPEL_ASSIGN_OR_RETURN(const nlohmann::json status, Status());
  std::vector<std::string> ids;
  for (const nlohmann::json& finding : status["findings"]) {
    if (finding.value("severity", "") == "notice") continue;
    ids.push_back(finding.value("id", ""));
  }
  return ids;
}

std::string Lab::VerifierLog() const { return TextOf(Path("verifier.log")); }

}  // namespace cupel::vm
