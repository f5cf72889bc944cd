#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/doctor/checks.h"
#include "agent/enrollment/ek_certificates.h"
#include "agent/tpm/identity.h"
#include "agent/tpm/tcti.h"
#include "common/crypto/certificate.h"
#include "common/crypto/pcr.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::HashAlgorithm;

constexpr char kManager[] = "set tcti to device:/dev/tpmrm0";
constexpr absl::Duration kSoon = absl::Hours(24 * 30);

bool Exists(const Machine& machine, const std::string& path) {
  return access(machine.Path(path).c_str(), F_OK) == 0;
}

void CheckDevice(const Machine& machine, const std::string& path,
                 Observations& found) {
  if (!Exists(machine, path)) {
    if (absl::StrContains(path, "tpmrm") && Exists(machine, "/dev/tpm0")) {
      found.Fail(absl::StrCat(path,
                              " is not there, but /dev/tpm0 is: the "
                              "kernel lacks its resource manager"),
                 "boot a kernel of 4.12 or later");
    } else {
      found.Fail(absl::StrCat(path,
                              " is not there: the machine has no TPM 2.0 "
                              "that the kernel knows"),
                 "enable the TPM in the firmware's settings; in a virtual "
                 "machine, add one");
    }
  } else if (!absl::StrContains(path, "tpmrm")) {
    found.Warn(absl::StrCat(path,
                            " has no resource manager: what a killed program "
                            "leaves in the TPM stays there"),
               kManager);
  } else {
    found.Ok(absl::StrCat(path, ", with the kernel's resource manager"));
  }
}

std::string Names(const std::vector<HashAlgorithm>& banks) {
  return absl::StrJoin(banks, ", ", [](std::string* out, HashAlgorithm bank) {
    absl::StrAppend(out, crypto::HashAlgorithmName(bank));
  });
}

// What a verifier asks for, unless told otherwise.
std::optional<HashAlgorithm> QuotedBank(
    const std::vector<HashAlgorithm>& banks) {
  const auto better = crypto::PreferredBank(
      banks, [](HashAlgorithm bank) { return bank != HashAlgorithm::kSha1; });
  return better.has_value()
             ? better
             : crypto::PreferredBank(banks, [](HashAlgorithm) { return true; });
}

// True if the firmware has extended one of PCR 0 to 7.
absl::StatusOr<bool> IsExtended(Tpm& tpm, HashAlgorithm bank) {
  constexpr uint32_t kFirmwarePcrs = 0xff;
  CUPEL_ASSIGN_OR_RETURN(const auto selection,
                         tpm::PcrSelection::Create({{bank, kFirmwarePcrs}}));
  CUPEL_ASSIGN_OR_RETURN(const auto values, tpm.ReadPcrs(selection));
  bool extended = false;
  values.ForEach([&](uint32_t, const crypto::Digest& value) {
    extended |= !value.IsZero();
  });
  return extended;
}

struct FoundEk {
  tpm::EkTemplate ek_template = tpm::EkTemplate::kL1;
  tpm::PublicArea area;
  std::vector<uint8_t> der;  // of its certificate
};

// The template that the agent uses, or would.
absl::StatusOr<tpm::EkTemplate> ChooseTemplate(
    const Machine& machine, const std::vector<EkCertificate>& stored) {
  const config::AgentConfig& config = machine.config;
  if (config.ek_template != "auto") {
    return tpm::EkTemplateFromName(config.ek_template);
  }
  const auto ak = LoadAk(machine.Path(config.state_dir) + "/ak");
  if (ak.ok()) return ak->ek_template;
  const auto good = std::ranges::find_if(
      stored, [](const EkCertificate& one) { return one.der.ok(); });
  return good == stored.end() ? tpm::EkTemplate::kL1 : good->ek_template;
}

absl::StatusOr<FoundEk> FindEk(const Machine& machine) {
  const std::string& file = machine.config.ek_certificate_file;
  CUPEL_ASSIGN_OR_RETURN(const auto stored,
                         (*machine.tpm)->ReadEkCertificates());
  FoundEk ek;
  CUPEL_ASSIGN_OR_RETURN(ek.ek_template, ChooseTemplate(machine, stored));
  CUPEL_ASSIGN_OR_RETURN(ek.area, (*machine.tpm)->ReadEk(ek.ek_template));
  if (!file.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const auto chain,
                           ReadEkCertificates(machine.Path(file), ek.area));
    ek.der = chain.front();
    return ek;
  }
  CUPEL_ASSIGN_OR_RETURN(ek.der, EkCertificateOf(ek.ek_template, stored));
  return ek;
}

void CheckValidity(const crypto::Certificate& certificate, absl::Time now,
                   Observations& found) {
  const auto day = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone());
  };
  if (now < certificate.not_before()) {
    found.Fail(absl::StrCat("the EK certificate is not valid before ",
                            day(certificate.not_before())),
               "set the clock");
  } else if (now > certificate.not_after()) {
    found.Fail(absl::StrCat("the EK certificate is not valid after ",
                            day(certificate.not_after())),
               "get a new one from the TPM's maker for ek_certificate_file");
  } else if (now + kSoon > certificate.not_after()) {
    found.Warn(absl::StrCat("the EK certificate ends on ",
                            day(certificate.not_after())),
               "get a new one from the TPM's maker for ek_certificate_file");
  }
}

}  // namespace

void CheckTcti(const Machine& machine, Observations& found) {
  const std::string& tcti = machine.config.tcti;
  if (IsTpmDevice(tcti)) {
    CheckDevice(machine, TctiPath(tcti), found);
  } else if (absl::StartsWith(tcti, "tabrmd")) {
    found.Ok("tpm2-abrmd is the resource manager");
  } else {
    found.Warn(absl::StrCat(EscapeForDisplay(tcti),
                            ": a TPM emulator proves nothing to anybody who "
                            "does not trust this machine"),
               absl::StrCat(kManager, " where there is a TPM"));
  }
}

void CheckTpmState(const Machine& machine, Observations& found) {
  if (!machine.tpm.ok()) {
    const std::string text(machine.tpm.status().message());
    if (absl::IsPermissionDenied(machine.tpm.status()) &&
        machine.user_id != 0) {
      found.CouldNotCheck(text, "run it as root, or as the agent's own user");
    } else {
      found.Fail(text,
                 "see tpm.tcti; the agent's user has to be in the group "
                 "tss; no other program may hold /dev/tpm0");
    }
    return;
  }
  const auto state = (*machine.tpm)->ReadState();
  if (!state.ok()) {
    found.Fail(std::string(state.status().message()),
               "power the machine off and on; see tpm.tcti");
    return;
  }
  if (!state->has_endorsement) {
    found.Fail("the endorsement hierarchy is disabled",
               "enable it in the firmware's TPM settings");
  }
  if (state->is_locked_out) {
    found.Warn("the TPM is locked out after wrong passwords or power cuts",
               "wait, or reset it with tpm2_dictionarylockout -c");
  }
  // EK and AK, and the EK's session.
  if (state->free_object_count < 2 || state->free_session_count < 1) {
    found.Fail(
        absl::StrCat("the TPM is full: room for ", state->free_object_count,
                     " objects and ", state->free_session_count, " sessions"),
        absl::StrCat(kManager,
                     ", or free slots with tpm2_flushcontext -t -l -s"));
  }
  found.Ok(
      absl::StrCat("answers, made by ", EscapeForDisplay(state->manufacturer)));
}

void CheckBanks(const Machine& machine, Observations& found) {
  if (!machine.tpm.ok()) {
    found.CouldNotCheck("the TPM can't be reached", "see tpm.state");
    return;
  }
  constexpr char kAllocate[] =
      "allocate the SHA-256 bank in the firmware's settings, or with "
      "tpm2_pcrallocate sha256:all, and reboot";
  const auto banks = (*machine.tpm)->AllocatedBanks();
  if (!banks.ok()) {
    found.CouldNotCheck(std::string(banks.status().message()), "see tpm.state");
    return;
  }
  const auto quoted = QuotedBank(*banks);
  if (!quoted.has_value()) {
    found.Fail("no bank that a list can be replayed in has PCRs", kAllocate);
    return;
  }
  if (*quoted == HashAlgorithm::kSha1) {
    found.Fail("SHA-1 alone has PCRs, which no verifier accepts unasked",
               kAllocate);
    return;
  }
  const auto extended = IsExtended(**machine.tpm, *quoted);
  if (!extended.ok()) {
    found.CouldNotCheck(std::string(extended.status().message()),
                        "see tpm.state");
  } else if (!*extended) {
    found.Fail(
        absl::StrCat("the firmware has extended none of PCR 0 to 7 in ",
                     crypto::HashAlgorithmName(*quoted),
                     ", the bank that is quoted"),
        "boot by UEFI with measured boot on, or take the bank's PCRs away with "
        "tpm2_pcrallocate; for an emulator without firmware, `cupel-tenant add "
        "--lab`");
  } else {
    found.Ok(absl::StrCat(Names(*banks), " have PCRs; quoted is ",
                          crypto::HashAlgorithmName(*quoted)));
  }
}

void CheckEkCertificate(const Machine& machine, Observations& found) {
  if (!machine.tpm.ok()) {
    found.CouldNotCheck("the TPM can't be reached", "see tpm.state");
    return;
  }
  const auto ek = FindEk(machine);
  if (!ek.ok()) {
    const std::string text(ek.status().message());
    if (absl::IsNotFound(ek.status()) || absl::IsInvalidArgument(ek.status())) {
      found.Fail(text,
                 "set ek_certificate_file to the certificate that the TPM's "
                 "maker published");
    } else {
      found.CouldNotCheck(text, "see tpm.state, and run it as root");
    }
    return;
  }
  const auto der = crypto::WithoutPadding(ek->der);
  const auto certificate =
      der.ok() ? crypto::Certificate::FromDer(*der) : der.status();
  if (!certificate.ok()) {
    found.Fail(
        absl::StrCat("the EK certificate: ", certificate.status().message()),
        "set ek_certificate_file to a good one");
    return;
  }
  CheckValidity(*certificate, machine.now, found);
  const auto own = ek->area.ToPublicKey();
  const auto certified = certificate->GetPublicKey();
  if (!own.ok() || !certified.ok() ||
      EVP_PKEY_eq(own->get(), certified->get()) != 1) {
    found.Fail("the EK certificate is for another key than the TPM's",
               "set ek_template and ek_certificate_file to what belongs to "
               "this TPM");
    return;
  }
  found.Ok(absl::StrCat(tpm::EkTemplateName(ek->ek_template), ", sha256 ",
                        certificate->fingerprint().Hex(), ", by ",
                        certificate->Issuer()));
}

}  // namespace cupel::agent
