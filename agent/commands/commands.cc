#include "agent/commands/commands.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/ima_emulator/ima_emulator.h"
#include "agent/sources/ima_list_source.h"
#include "agent/tpm/esys_tpm.h"
#include "common/crypto/certificate.h"
#include "common/crypto/pcr.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "common/util/uuid.h"

namespace cupel::agent {
namespace {

constexpr size_t kMaxSmallFile = size_t{1} << 20;

absl::StatusOr<std::string> ReadLine(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadFile(path, kMaxSmallFile));
  return std::string(absl::StripTrailingAsciiWhitespace(AsText(bytes)));
}

void Print(absl::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
}

void PrintPem(std::span<const uint8_t> der) {
  constexpr size_t kLineSize = 64;
  const std::string base64 = absl::Base64Escape(AsText(der));
  Print("-----BEGIN CERTIFICATE-----");
  for (size_t at = 0; at < base64.size(); at += kLineSize) {
    Print(base64.substr(at, kLineSize));
  }
  Print("-----END CERTIFICATE-----");
}

absl::StatusOr<std::vector<uint8_t>> ReadWholeList(ImaListSource& source) {
  std::vector<uint8_t> list;
  while (true) {
    CUPEL_ASSIGN_OR_RETURN(
        const auto piece,
        source.ReadFrom(list.size(), ImaListSource::kMaxPieceSize));
    if (piece.empty()) return list;
    Append(list, piece);
  }
}

absl::StatusOr<ima::PcrSet> PcrsOf(std::span<const uint8_t> list) {
  ima::PcrSet pcrs;
  ima::ListParser parser{ima::ListOptions{}};
  CUPEL_RETURN_IF_ERROR(
      parser.Feed(list, [&](std::span<const ima::Entry> entries) {
        for (const ima::Entry& entry : entries) pcrs.set(entry.pcr);
        return absl::OkStatus();
      }));
  CUPEL_RETURN_IF_ERROR(parser.Finish());
  return pcrs;
}

// How many entries explain the bank's values; nullopt if no prefix does.
absl::StatusOr<std::optional<uint64_t>> Explain(std::span<const uint8_t> list,
                                                crypto::HashAlgorithm bank,
                                                const ima::PcrSet& pcrs,
                                                const tpm::PcrValues& values) {
  std::vector<ima::ReplayTarget::Value> wanted;
  for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
    const crypto::Digest* value = values.Find(bank, pcr);
    if (pcrs.test(pcr) && value != nullptr)
      wanted.push_back({bank, pcr, *value});
  }
  CUPEL_ASSIGN_OR_RETURN(ima::Replayer replayer,
                         ima::Replayer::Create({{bank}}));
  const auto target = ima::ReplayTarget::FromValues(std::move(wanted));
  std::optional<uint64_t> explained;
  ima::ListParser parser{ima::ListOptions{}};
  CUPEL_RETURN_IF_ERROR(
      parser.Feed(list, [&](std::span<const ima::Entry> entries) {
        if (explained.has_value()) return absl::OkStatus();
        if (const auto taken = replayer.ExtendUntil(entries, target)) {
          explained = entries.front().index + *taken;
        }
        return absl::OkStatus();
      }));
  return explained;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tpm>> OpenTpm(
    const config::AgentConfig& config) {
  EsysOptions options;
  options.tcti = config.tcti;
  if (!config.endorsement_password_file.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const std::string password,
                           ReadLine(config.endorsement_password_file));
    options.endorsement_password = Secret(AsBytes(password));
  }
  return EsysTpm::Open(std::move(options));
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
  std::vector<std::vector<uint8_t>> certificates;
  if (config.ek_certificate_file.empty()) {
    if (identity.ek_certificate.empty()) {
      return absl::NotFoundError(absl::StrCat(
          "the TPM has no certificate of its endorsement key (template ",
          tpm::EkTemplateName(identity.ek_template),
          "); set ek_certificate_file to the one that its maker published"));
    }
    certificates.push_back(identity.ek_certificate);
    return certificates;
  }
  CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                         ReadFile(config.ek_certificate_file, kMaxSmallFile));
  if (!absl::StrContains(AsText(bytes), "-----BEGIN ")) {
    certificates.push_back(bytes);
    return certificates;
  }
  auto bundle = crypto::Certificate::BundleFromPem(AsText(bytes));
  if (!bundle.ok()) {
    return WithContext(bundle.status(),
                       EscapeForDisplay(config.ek_certificate_file));
  }
  for (const crypto::Certificate& certificate : *bundle) {
    certificates.push_back(ToVector(certificate.der()));
  }
  return certificates;
}

absl::StatusOr<int> ShowIdentity(const config::AgentConfig& config) {
  CUPEL_RETURN_IF_ERROR(MakeStateFolder(config));
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpm(config));
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, LoadAgentId(config));
  CUPEL_ASSIGN_OR_RETURN(const Identity identity, LoadIdentity(config, *tpm));
  CUPEL_ASSIGN_OR_RETURN(const auto certificates,
                         LoadEkCertificates(config, identity));
  CUPEL_ASSIGN_OR_RETURN(const auto der,
                         crypto::WithoutPadding(certificates.front()));
  CUPEL_ASSIGN_OR_RETURN(const auto certificate,
                         crypto::Certificate::FromDer(der));
  Print(absl::StrCat("agent id:     ", id.ToString()));
  Print(absl::StrCat("EK sha256:    ", certificate.fingerprint().Hex()));
  Print(absl::StrCat("EK template:  ",
                     tpm::EkTemplateName(identity.ek_template)));
  Print(absl::StrCat("EK subject:   ", certificate.Subject()));
  Print(absl::StrCat("EK issuer:    ", certificate.Issuer()));
  PrintPem(certificate.der());
  return 0;
}

absl::StatusOr<int> SelfTest(const config::AgentConfig& config) {
  CUPEL_ASSIGN_OR_RETURN(const auto tpm, OpenTpm(config));
  CUPEL_ASSIGN_OR_RETURN(
      const auto source,
      ImaListSource::Open(config.ima_list, config.ima_count));
  CUPEL_ASSIGN_OR_RETURN(const auto banks, tpm->AllocatedBanks());
  // The PCRs first, the list after: it is never shorter than they are then.
  std::vector<std::pair<crypto::HashAlgorithm, tpm::PcrValues>> values;
  for (const crypto::HashAlgorithm bank : banks) {
    if (!crypto::IsReplayBank(bank)) continue;
    CUPEL_ASSIGN_OR_RETURN(
        const tpm::PcrSelection selection,
        tpm::PcrSelection::FromString(absl::StrCat(
            crypto::HashAlgorithmName(bank), ":10,11,12,13,14,15")));
    CUPEL_ASSIGN_OR_RETURN(tpm::PcrValues of_bank, tpm->ReadPcrs(selection));
    values.emplace_back(bank, std::move(of_bank));
  }
  if (values.empty()) {
    return absl::FailedPreconditionError(
        "the TPM has no bank that a list can be replayed in");
  }
  CUPEL_ASSIGN_OR_RETURN(const auto list, ReadWholeList(*source));
  if (list.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        EscapeForDisplay(config.ima_list),
        ": an empty list; boot with an IMA policy, such as ima_policy=tcb"));
  }
  CUPEL_ASSIGN_OR_RETURN(const ima::PcrSet pcrs, PcrsOf(list));
  int exit_code = 0;
  for (const auto& [bank, of_bank] : values) {
    CUPEL_ASSIGN_OR_RETURN(const auto explained,
                           Explain(list, bank, pcrs, of_bank));
    if (explained.has_value()) {
      Print(absl::StrCat(crypto::HashAlgorithmName(bank),
                         ": explained by the first ", *explained, " entries"));
    } else {
      Print(
          absl::StrCat(crypto::HashAlgorithmName(bank),
                       ": NOT explained by the list: history was lost (kexec, "
                       "hibernation), PCR 10 was extended by hand, or the "
                       "kernel pads SHA-1 digests in this bank"));
      exit_code = 1;
    }
  }
  return exit_code;
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
