#include "tests/support/swtpm_machine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "agent/tpm/esys_tpm.h"
#include "agent/tpm/identity.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

constexpr size_t kMaxFileSize = size_t{1} << 20;
constexpr uint32_t kFirmwarePcrs = 8;

}  // namespace

absl::StatusOr<std::unique_ptr<SwtpmMachine>> SwtpmMachine::Start(
    const AgentId& id) {
  agent::SilenceTssLog();
  std::unique_ptr<SwtpmMachine> machine(new SwtpmMachine(id));
  CUPEL_ASSIGN_OR_RETURN(machine->swtpm_,
                         SwTpm::StartCertified(machine->ca_folder_.path()));
  CUPEL_RETURN_IF_ERROR(machine->Boot());
  CUPEL_RETURN_IF_ERROR(machine->Measure("good.sh", "#!/bin/sh\n", true));
  return machine;
}

absl::Status SwtpmMachine::Boot() {
  ima_.reset();
  CUPEL_ASSIGN_OR_RETURN(tpm_, agent::EsysTpm::Open({.tcti = swtpm_->Tcti()}));
  for (uint32_t pcr = 0; pcr < kFirmwarePcrs; ++pcr) {
    const std::string seed = absl::StrCat("firmware ", pcr);
    const std::vector<Digest> values = {
        crypto::Hash(HashAlgorithm::kSha1, AsBytes(seed)),
        crypto::Hash(HashAlgorithm::kSha256, AsBytes(seed))};
    CUPEL_RETURN_IF_ERROR(tpm_->ExtendPcr(pcr, values));
  }
  CUPEL_ASSIGN_OR_RETURN(
      agent::Identity identity,
      agent::PrepareIdentity(*tpm_, {.state_folder = folder_.path()}));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> ek_certificate,
                         std::move(identity.ek_certificate));
  ek_handle_ = identity.ek_template == tpm::EkTemplate::kL1 ? "0x81010001"
                                                            : "0x81010016";
  CUPEL_ASSIGN_OR_RETURN(
      enrollee_, agent::Enrollee::Create({.agent_id = id_,
                                          .ek_template = identity.ek_template,
                                          .ek_certificates = {ek_certificate},
                                          .ek_public = identity.ek.Serialize(),
                                          .ak_public = identity.ak.Serialize(),
                                          .enrollment_token = "",
                                          .agent_version = "test"}));
  CUPEL_ASSIGN_OR_RETURN(ima_,
                         agent::ImaEmulator::Open(*tpm_, folder_ / "list"));
  return absl::OkStatus();
}

std::string SwtpmMachine::VendorPem() const {
  std::string pem;
  for (const char* const name :
       {"issuer.pem", "swtpm-localca-rootca-cert.pem"}) {
    const auto file = ReadFile(ca_folder_ / name, kMaxFileSize);
    if (file.ok()) absl::StrAppend(&pem, AsText(*file));
  }
  return pem;
}

absl::StatusOr<Secret> SwtpmMachine::Activate(
    std::span<const uint8_t> credential_blob,
    std::span<const uint8_t> encrypted_secret) {
  const tpm::Credential credential{
      .id_object = ToVector(credential_blob),
      .encrypted_secret = ToVector(encrypted_secret)};
  if (!uses_tools_) return tpm_->ActivateCredential(credential);
  CUPEL_RETURN_IF_ERROR(
      swtpm_->Write("cred", tpm::SerializeCredentialFile(credential)));
  CUPEL_RETURN_IF_ERROR(
      swtpm_
          ->RunWithoutFlush(
              {"tpm2_startauthsession", "--policy-session", "-S", "session"})
          .status());
  CUPEL_RETURN_IF_ERROR(
      swtpm_->RunWithoutFlush({"tpm2_policysecret", "-S", "session", "-c", "e"})
          .status());
  CUPEL_RETURN_IF_ERROR(
      swtpm_
          ->Run({"tpm2_activatecredential", "-c", "ak.ctx", "-C", ek_handle_,
                 "-i", "cred", "-o", "secret", "-P", "session:session"})
          .status());
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> secret,
                         swtpm_->Read("secret"));
  return Secret(secret);
}

absl::StatusOr<agent::QuoteResult> SwtpmMachine::Quote(
    std::span<const uint8_t> qualifying_data,
    const tpm::PcrSelection& selection) {
  if (uses_tools_) {
    CUPEL_RETURN_IF_ERROR(
        swtpm_
            ->Run({"tpm2_quote", "-c", "ak.ctx", "-l", selection.ToString(),
                   "-q", HexEncode(qualifying_data), "-m", "quote.msg", "-s",
                   "quote.sig"})
            .status());
    agent::QuoteResult result;
    CUPEL_ASSIGN_OR_RETURN(result.attest, swtpm_->Read("quote.msg"));
    CUPEL_ASSIGN_OR_RETURN(result.signature, swtpm_->Read("quote.sig"));
    CUPEL_ASSIGN_OR_RETURN(result.pcrs, tpm_->ReadPcrs(selection));
    return result;
  }
  CUPEL_ASSIGN_OR_RETURN(agent::Quote quote,
                         tpm_->MakeQuote(qualifying_data, selection));
  return agent::QuoteResult{.attest = std::move(quote.attest),
                            .signature = std::move(quote.signature),
                            .pcrs = std::move(quote.values)};
}

std::vector<uint8_t> SwtpmMachine::List() {
  return ReadFile(folder_ / "list", kMaxFileSize)
      .value_or(std::vector<uint8_t>());
}

std::vector<HashAlgorithm> SwtpmMachine::Banks() {
  return tpm_->AllocatedBanks().value_or(std::vector<HashAlgorithm>());
}

absl::Status SwtpmMachine::Measure(const std::string& name,
                                   const std::string& content, bool allow) {
  const std::string path = folder_ / name;
  CUPEL_RETURN_IF_ERROR(WriteFile(path, content));
  if (allow) {
    absl::StrAppend(
        &allowlist_,
        crypto::Hash(HashAlgorithm::kSha256, AsBytes(content)).Hex(), "  ",
        path, "\n");
  }
  return ima_->MeasureFile(path).status();
}

absl::Status SwtpmMachine::Reboot() {
  ima_.reset();
  tpm_.reset();
  swtpm_->Kill();
  CUPEL_RETURN_IF_ERROR(swtpm_->Restart());
  return Boot();
}

absl::Status SwtpmMachine::UseKeyOfTools() {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> file,
                         swtpm_->Read("ak.pub"));
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea ak, tpm::ParsePublicFile(file));
  CUPEL_ASSIGN_OR_RETURN(
      const tpm::PublicArea ek,
      tpm_->ReadEk(*tpm::EkTemplateFromName(enrollee_->request().ek_template)));
  CUPEL_ASSIGN_OR_RETURN(
      enrollee_, agent::Enrollee::Create(
                     {.agent_id = id_,
                      .ek_template = *tpm::EkTemplateFromName(
                          enrollee_->request().ek_template),
                      .ek_certificates = enrollee_->request().ek_certificates,
                      .ek_public = ek.Serialize(),
                      .ak_public = ak.Serialize(),
                      .enrollment_token = "",
                      .agent_version = "test"}));
  uses_tools_ = true;
  return absl::OkStatus();
}

}  // namespace cupel::testing
