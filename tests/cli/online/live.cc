#include "tests/cli/online/live.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {
namespace {

namespace fs = std::filesystem;

constexpr char kUuid[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

std::string AllowLine(const std::string& path) {
  return absl::StrCat(
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(TextOf(path))).Hex(),
      "  ", path, "\n");
}

// The port behind `name` in the verifier's file of what it listens on.
std::string PortOf(const std::string& listening, absl::string_view name) {
  for (const std::string& line : Lines(listening)) {
    if (absl::StartsWith(line, name)) return line.substr(line.rfind(':') + 1);
  }
  return "";
}

}  // namespace

bool Await(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

LiveBench::LiveBench(absl::string_view tenant_options) {
  SwTpm::SkipUnlessAvailable();
  // The TPM, with a maker's CA of its own.
  fs::create_directory(Path("ca"));
  Spill(Path("setup.conf"),
        absl::StrCat("create_certs_tool= /usr/bin/swtpm_localca\n",
                     "create_certs_tool_config = ", Path("ca.conf"), "\n",
                     "create_certs_tool_options = ", Path("ca.options"), "\n"));
  Spill(Path("ca.conf"),
        absl::StrCat("statedir = ", Path("ca"),
                     "\nsigningkey = ", Path("ca/signkey.pem"),
                     "\nissuercert = ", Path("ca/issuer.pem"),
                     "\ncertserial = ", Path("ca/serial"), "\n"));
  Spill(Path("ca.options"),
        "--platform-manufacturer Cupel\n--platform-version 1.0\n"
        "--platform-model Test\n");
  auto tpm = SwTpm::Start({"--create-ek-cert", "--config", Path("setup.conf")});
  REQUIRE_THAT(StatusOf(tpm), IsOk());
  tpm_ = *std::move(tpm);

  // The verifier.
  const auto init =
      RunCommand({CUPEL_VERIFIER, "init", "--dir", Path("pki"), "--name",
                  "localhost", "--address", "127.0.0.1"});
  REQUIRE((init.ok() && init->exit_code == 0));
  fs::create_directory(Path("ek-roots"));
  for (const auto& entry : fs::directory_iterator(Path("ca"))) {
    const std::string name = entry.path().filename().string();
    if (name == "issuer.pem" || absl::EndsWith(name, "rootca-cert.pem")) {
      fs::copy_file(entry.path(), Path("ek-roots/" + name));
    }
  }
  fs::create_directory(Path("verifier"));
  Spill(Path("verifier.yaml"),
        absl::StrCat("attest_listen: 127.0.0.1:8891\n"
                     "fleet_listen: 127.0.0.1:8892\nmetrics_listen: off\n"
                     "state_dir: verifier\n"
                     "tls_certificate: pki/server/certificate.pem\n"
                     "tls_key: pki/server/key.pem\n"
                     "client_ca: pki/client-ca/certificate.pem\n"
                     "ek_roots: ek-roots\n"));
  auto verifier = Server::Start({CUPEL_VERIFIER, "--config",
                                 Path("verifier.yaml"), "--free-ports", "run"},
                                Path("verifier.log"));
  REQUIRE_THAT(StatusOf(verifier), IsOk());
  verifier_ = *std::move(verifier);
  const std::string listening = Path("verifier/listening");
  REQUIRE(Await([&] { return fs::exists(listening); }));
  std::string fleet_port;
  REQUIRE(Await([&] {
    attest_port_ = PortOf(TextOf(listening), "attest");
    fleet_port = PortOf(TextOf(listening), "fleet");
    return !attest_port_.empty() && !fleet_port.empty();
  }));
  Spill(Path("tenant.yaml"),
        absl::StrCat("verifier: 127.0.0.1:", fleet_port,
                     "\nca_file: pki/operator/ca.pem\n"
                     "certificate: pki/operator/certificate.pem\n"
                     "key: pki/operator/key.pem\n",
                     tenant_options));

  // The machine, and what it may run.
  for (const char* word : {"good", "evil"}) {
    const std::string script = Path(absl::StrCat(word, "_script.sh"));
    Spill(script, absl::StrCat("#!/bin/sh\necho ", word, "\n"));
    chmod(script.c_str(), 0755);
  }
  Spill(Path("allowlist.txt"),
        absl::StrCat(AllowLine(Path("good_script.sh")),
                     AllowLine(fs::canonical("/bin/sh").string())));
  Spill(Path("excludes.txt"), "/tmp/excluded/.*\n");
}

void LiveBench::StartAgent(absl::string_view options) {
  agent_.reset();
  Spill(Path("agent.yaml"),
        absl::StrCat("verifiers: [127.0.0.1:", attest_port_,
                     "]\nca_file: pki/ca/certificate.pem\nagent_id: ", kUuid,
                     "\nstate_dir: agent\ntcti: ", tpm_->Tcti(), "\nima_list: ",
                     Path("ima_list"), "\nima_count: \"\"\n", options));
  if (!fs::exists(Path("ima_list"))) RunOnMachine("good_script.sh");
  auto agent =
      Server::Start({CUPEL_AGENT, "--config", Path("agent.yaml"), "run"},
                    Path(absl::StrCat("agent", ++agent_runs_, ".log")));
  REQUIRE_THAT(StatusOf(agent), IsOk());
  agent_ = *std::move(agent);
}

void LiveBench::RunOnMachine(const std::string& script) {
  const auto result = RunCommand({CUPEL_AGENT, "--config", Path("agent.yaml"),
                                  "ima-emulator", "--", Path(script)});
  REQUIRE((result.ok() && result->exit_code == 0));
}

std::string LiveBench::AgentLog() const {
  return TextOf(Path(absl::StrCat("agent", agent_runs_, ".log")));
}

CommandResult LiveBench::Tenant(const std::vector<std::string>& arguments,
                                const CommandOptions& options) const {
  return testing::Tenant(
      std::vector<std::string>{"--config", Path("tenant.yaml")} + arguments,
      options);
}

CommandResult LiveBench::TenantLine(absl::string_view line) const {
  return Tenant(
      absl::StrSplit(absl::StrReplaceAll(line, {{"/root/", Path("")}}), ' ',
                     absl::SkipEmpty()));
}

}  // namespace cupel::testing
