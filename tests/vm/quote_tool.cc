// Runs in the guest: a quote with all that checks it, made as the agent makes
// one, for keep.cc.
//
//   quote-tool FOLDER
//
// FOLDER has the qualifying data in `nonce`, and gets quote.msg (TPMS_ATTEST),
// quote.sig (TPMT_SIGNATURE), ak.pub and ek.pub (TPM2B_PUBLIC). The quote is of
// PCR 0 to 10 in the SHA-256 bank, or in the first that is allocated.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/tpm/esys_tpm.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::vm {
namespace {

constexpr uint32_t kPcr0To10 = 0x7ff;
constexpr auto kTemplate = tpm::EkTemplate::kL2;

absl::StatusOr<tpm::PcrSelection> Selection(agent::Tpm& tpm) {
  CUPEL_ASSIGN_OR_RETURN(const auto banks, tpm.AllocatedBanks());
  if (banks.empty()) return absl::NotFoundError("no bank");
  auto bank = crypto::HashAlgorithm::kSha256;
  if (std::ranges::find(banks, bank) == banks.end()) bank = banks.front();
  return tpm::PcrSelection::Create({{bank, kPcr0To10}});
}

absl::Status Write(const std::string& path, std::span<const uint8_t> bytes) {
  return WriteFile(path, AsText(bytes));
}

absl::Status QuoteInto(const std::string& folder) {
  CUPEL_ASSIGN_OR_RETURN(const auto nonce,
                         ReadFile(folder + "/nonce", /*max_size=*/64));
  agent::EsysOptions options;
  options.tcti = "device:/dev/tpmrm0";
  CUPEL_ASSIGN_OR_RETURN(const auto tpm,
                         agent::EsysTpm::Open(std::move(options)));
  CUPEL_ASSIGN_OR_RETURN(const auto ek, tpm->ReadEk(kTemplate));
  CUPEL_ASSIGN_OR_RETURN(const auto ak,
                         tpm->CreateAk(kTemplate, agent::AkKind::kEccP256));
  CUPEL_RETURN_IF_ERROR(tpm->UseAk(ak).status());
  CUPEL_ASSIGN_OR_RETURN(const auto selection, Selection(*tpm));
  CUPEL_ASSIGN_OR_RETURN(const auto quote, tpm->MakeQuote(nonce, selection));
  const std::vector<uint8_t> area = ek.Serialize();
  std::vector<uint8_t> ek_blob = {static_cast<uint8_t>(area.size() >> 8),
                                  static_cast<uint8_t>(area.size())};
  Append(ek_blob, area);
  CUPEL_RETURN_IF_ERROR(Write(folder + "/ak.pub", ak.public_blob));
  CUPEL_RETURN_IF_ERROR(Write(folder + "/ek.pub", ek_blob));
  CUPEL_RETURN_IF_ERROR(Write(folder + "/quote.msg", quote.attest));
  return Write(folder + "/quote.sig", quote.signature);
}

}  // namespace
}  // namespace cupel::vm

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::Status done = cupel::vm::QuoteInto(argv[1]);
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.ToString().c_str());
  return done.ok() ? 0 : 1;
}
