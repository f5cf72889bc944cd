#include "agent/commands/commands.h"

#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/doctor/doctor.h"
#include "agent/doctor/self_replay.h"
#include "agent/enrollment/ek_certificates.h"
#include "agent/ima_emulator/ima_emulator.h"
#include "agent/sources/ima_list_source.h"
#include "agent/tpm/esys_tpm.h"
#include "common/crypto/certificate.h"
#include "common/tpm/ek_template.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"
#include "common/util/uuid.h"
#include "nlohmann/json.hpp"

namespace cupel::agent {
namespace {

constexpr size_t kMaxSmallFile = size_t{1} << 20;

absl::StatusOr<std::string> ReadLine(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadFile(path, kMaxSmallFile));
  return std::string(absl::StripTrailingAsciiWhitespace(AsText(bytes)));
}

// What a command was asked for: an answer that got lost is no answer.
absl::Status Output(absl::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0) {
    return absl::UnavailableError(
        absl::StrCat("standard output: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

std::string ToPem(std::span<const uint8_t> der) {
  constexpr size_t kLineSize = 64;
  const std::string base64 = absl::Base64Escape(AsText(der));
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  for (size_t at = 0; at < base64.size(); at += kLineSize) {
    absl::StrAppend(&pem, base64.substr(at, kLineSize), "\n");
  }
  return absl::StrCat(pem, "-----END CERTIFICATE-----\n");
}

// One line of what identity prints.
struct Property {
  const char* key;    // in JSON
  const char* label;  // for people
  std::string value;
};

// The EK's own, out of those that it is enrolled with.
absl::StatusOr<crypto::Certificate> FirstCertificate(
    const config::AgentConfig& config, const Identity& identity) {
  CUPEL_ASSIGN_OR_RETURN(const auto certificates,
                         LoadEkCertificates(config, identity));
  CUPEL_ASSIGN_OR_RETURN(const auto der,
                         crypto::WithoutPadding(certificates.front()));
  return crypto::Certificate::FromDer(der);
}

absl::StatusOr<std::unique_ptr<Tpm>> Open(const config::AgentConfig& config,
                                          std::string session_note_file) {
  EsysOptions options;
  options.tcti = config.tcti;
  options.session_note_file = std::move(session_note_file);
  if (!config.endorsement_password_file.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const std::string password,
                           ReadLine(config.endorsement_password_file));
    options.endorsement_password = Secret(AsBytes(password));
  }
  return EsysTpm::Open(std::move(options));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tpm>> OpenTpm(
    const config::AgentConfig& config) {
  return Open(config, "");
}

absl::StatusOr<std::unique_ptr<Tpm>> OpenTpmForKeys(
    const config::AgentConfig& config) {
  return Open(config, absl::StrCat(config.state_dir, "/tpm_session"));
}

absl::Status MakeStateFolder(const config::AgentConfig& config) {
  if (mkdir(config.state_dir.c_str(), S_IRWXU) == 0 || errno == EEXIST) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("state_dir ", Quoted(config.state_dir), ": ",
                   std::strerror(errno), "; make the folder above it first"));
}

absl::StatusOr<AgentId> LoadAgentId(const config::AgentConfig& config) {
  if (config.agent_id.has_value()) return *config.agent_id;
  const std::string path = absl::StrCat(config.state_dir, "/agent_id");
  const auto kept = ReadLine(path);
  if (kept.ok()) {
    auto id = AgentId::Parse(*kept);
    if (id.ok()) return id;
    return absl::FailedPreconditionError(
        absl::StrCat(EscapeForDisplay(path), ": ", id.status().message(),
                     "; put the id back that the verifier knows, or remove the "
                     "file to get a new one"));
  }
  if (!absl::IsNotFound(kept.status())) return kept.status();
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, NewAgentId());
  CUPEL_RETURN_IF_ERROR(WriteFile(path, absl::StrCat(id.ToString(), "\n")));
  return id;
}

absl::StatusOr<Identity> LoadIdentity(const config::AgentConfig& config,
                                      Tpm& tpm) {
  IdentityOptions options;
  options.state_folder = config.state_dir;
  if (config.ek_template != "auto") {
    CUPEL_ASSIGN_OR_RETURN(options.ek_template,
                           tpm::EkTemplateFromName(config.ek_template));
  }
  options.ak_kind =
      config.ak_algorithm == "rsa-2048" ? AkKind::kRsa2048 : AkKind::kEccP256;
  return PrepareIdentity(tpm, options);
}

absl::StatusOr<std::vector<std::vector<uint8_t>>> LoadEkCertificates(
    const config::AgentConfig& config, const Identity& identity) {
  if (!config.ek_certificate_file.empty()) {
    return ReadEkCertificates(config.ek_certificate_file, identity.ek);
  }
  CUPEL_RETURN_IF_ERROR(identity.ek_certificate.status());
  return std::vector<std::vector<uint8_t>>{*identity.ek_certificate};
}

absl::StatusOr<int> ShowIdentity(const config::AgentConfig& config, bool json) {
  CUPEL_RETURN_IF_ERROR(MakeStateFolder(config));
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpmForKeys(config));
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, LoadAgentId(config));
  CUPEL_ASSIGN_OR_RETURN(const Identity identity, LoadIdentity(config, *tpm));
  std::vector<Property> properties = {
      {"agent_id", "agent id", id.ToString()},
      {"ek_template", "EK template",
       std::string(tpm::EkTemplateName(identity.ek_template))},
      {"ek_name", "EK Name", HexEncode(identity.ek.Name())},
      {"ak_name", "AK Name", HexEncode(identity.ak.Name())}};
  const auto certificate = FirstCertificate(config, identity);
  if (certificate.ok()) {
    properties.insert(
        properties.begin() + 1,
        {"ek_sha256", "EK sha256", certificate->fingerprint().Hex()});
    properties.push_back({"ek_subject", "EK subject", certificate->Subject()});
    properties.push_back({"ek_issuer", "EK issuer", certificate->Issuer()});
  }
  const std::string pem = certificate.ok() ? ToPem(certificate->der()) : "";
  std::string text;
  if (json) {
    nlohmann::ordered_json object;
    for (const Property& one : properties) object[one.key] = one.value;
    if (certificate.ok()) object["ek_certificate"] = pem;
    text =
        object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
        "\n";
  } else {
    for (const Property& one : properties) {
      absl::StrAppendFormat(&text, "%-13s %s\n", absl::StrCat(one.label, ":"),
                            one.value);
    }
    absl::StrAppend(&text, pem);
  }
  CUPEL_RETURN_IF_ERROR(Output(text));
  if (certificate.ok()) return 0;
  std::fprintf(stderr, "cupel-agent: %s\n",
               std::string(certificate.status().message()).c_str());
  return 1;
}

absl::StatusOr<int> SelfTest(const config::AgentConfig& config, bool json) {
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpm(config));
  CUPEL_ASSIGN_OR_RETURN(
      const auto source,
      ImaListSource::Open(config.ima_list, config.ima_count));
  CUPEL_ASSIGN_OR_RETURN(const SelfTestReport report,
                         CompareListWithPcrs(*tpm, *source));
  CUPEL_RETURN_IF_ERROR(Output(json ? report.Json() : report.Text()));
  return report.ExitCode();
}

absl::StatusOr<int> RunDoctor(const config::AgentConfig& config, bool json) {
  // A verifier that hangs up must not end the examination.
  std::signal(SIGPIPE, SIG_IGN);
  const Report report = Examine(ThisMachine(config, OpenTpm(config)));
  CUPEL_RETURN_IF_ERROR(Output(json ? report.Json() : report.Text()));
  return report.ExitCode();
}

absl::StatusOr<int> EmulateIma(const config::AgentConfig& config,
                               const std::vector<std::string>& command) {
  if (command.empty()) {
    return absl::InvalidArgumentError("no command: ima-emulator -- COMMAND...");
  }
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpm(config));
  std::string program;
  {
    CUPEL_ASSIGN_OR_RETURN(const auto emulator,
                           ImaEmulator::Open(*tpm, config.ima_list));
    CUPEL_ASSIGN_OR_RETURN(program, emulator->MeasureCommand(command.front()));
  }
  return RunProgram(program, command);
}

}  // namespace cupel::agent
