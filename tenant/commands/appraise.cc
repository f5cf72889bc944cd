#include "common/appraisal/appraise.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/policy/compiled_policy.h"
#include "common/policy/exclude_list.h"
#include "common/policy/tpm_policy.h"
#include "common/policy/violation_patterns.h"
#include "common/tpm/attest.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/plain_signature.h"
#include "common/tpm/public_area.h"
#include "common/tpm/signature.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/appraisal_report.h"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

// Quotes, signatures and keys have under 4 KiB.
constexpr size_t kMaxTpmFileSize = size_t{1} << 16;
// A finding has some 400 bytes.
constexpr size_t kMaxFindings = 100'000;

struct AppraiseFlags {
  std::string list_file;
  ListFlags list;
  PolicyFlags policy;
  std::string tpm_policy;
  std::string pcrs;
  std::string quote;
  std::string signature;
  std::string ak;
  std::string ek;
  // Given empty for a quote that was made without one.
  std::optional<std::string> nonce;
  std::string pcr_values;
  std::string pcr_list;
  std::vector<std::string> padded_banks;
  std::vector<uint32_t> list_pcrs;
  bool ak_attributes_unchecked = false;
  bool allow_sha1_bank = false;
  bool tolerate_violations = false;
  std::string tolerated_violations;       // a file
  std::vector<std::string> ima_policies;  // paths, or "none"
  bool lab = false;
  bool json = false;
};

// What the flags name, loaded. The evidence points into this.
struct Inputs {
  std::vector<NamedPolicy> policies;
  // Of other files than policies.
  std::vector<policy::PolicyWarning> other_warnings;
  std::vector<uint8_t> list;
  std::vector<uint8_t> attest;
  std::vector<uint8_t> signature;
  std::optional<tpm::AttestationKey> ak;
  appraisal::Evidence evidence;
  appraisal::Challenge challenge;
  appraisal::Reference reference;
};

// A quote needs all that it is checked with, and what is about a quote needs
// one: an option that does nothing would look like a check that was made.
absl::Status CheckQuoteFlags(const AppraiseFlags& flags) {
  std::vector<absl::string_view> given;
  std::vector<absl::string_view> missing;
  const auto needed = [&](absl::string_view name, bool is_given) {
    (is_given ? given : missing).push_back(name);
  };
  needed("--quote", !flags.quote.empty());
  needed("--signature", !flags.signature.empty());
  needed("--ak", !flags.ak.empty());
  needed("--nonce", flags.nonce.has_value());
  needed("--pcr-values", !flags.pcr_values.empty());
  if (!flags.ek.empty()) given.push_back("--ek");
  if (!flags.pcr_list.empty()) given.push_back("--pcr-list");
  if (flags.ak_attributes_unchecked) {
    given.push_back("--ak-attributes-unchecked");
  }
  if (given.empty()) return absl::OkStatus();
  if (!flags.pcrs.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--pcrs is for values that nobody signed and excludes ", given.front(),
        "; the values of a quote's PCRs are --pcr-values"));
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      given.front(), " needs ", absl::StrJoin(missing, ", "), " as well",
      flags.nonce.has_value()
          ? ""
          : " (--nonce \"\" for a quote made without one)"));
}

// An EK of another make would prove nothing by being the AK's parent [A23].
bool IsMadeFromTemplate(const tpm::PublicArea& ek) {
  const auto key = ek.ToPublicKey();
  return key.ok() &&
         std::ranges::any_of(tpm::kEkTemplates, [&](tpm::EkTemplate id) {
           const auto made = tpm::EkPublicArea(id, *key);
           return made.ok() && made->Name() == ek.Name();
         });
}

absl::Status LoadQuote(const AppraiseFlags& flags, Inputs& in) {
  CUPEL_ASSIGN_OR_RETURN(in.attest, ReadFile(flags.quote, kMaxTpmFileSize));
  CUPEL_ASSIGN_OR_RETURN(in.signature,
                         ReadFile(flags.signature, kMaxTpmFileSize));
  CUPEL_ASSIGN_OR_RETURN(const auto ak_file,
                         ReadFile(flags.ak, kMaxTpmFileSize));
  auto ak = tpm::AttestationKey::FromFile(ak_file);
  if (!ak.ok()) {
    return InFile(
        WithContext(ak.status(), "no AK, as tpm2_readpublic -o writes it"),
        flags.ak);
  }
  in.ak = *std::move(ak);
  // tpm2_quote -f plain: the scheme is left out, and the AK's is fixed. What is
  // neither form is appraisal's to refuse.
  if (!tpm::ParseSignature(in.signature).ok()) {
    const auto plain = tpm::ParsePlainSignature(in.signature, *in.ak);
    if (plain.ok()) in.signature = tpm::SerializeSignature(*plain);
  }
  if (!flags.ek.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const auto ek_file,
                           ReadFile(flags.ek, kMaxTpmFileSize));
    const auto ek = tpm::ParsePublicFile(ek_file);
    if (!ek.ok()) return InFile(ek.status(), flags.ek);
    if (!IsMadeFromTemplate(*ek)) {
      return InFile(absl::InvalidArgumentError(
                        "not an endorsement key of the TCG's templates"),
                    flags.ek);
    }
    in.challenge.ek_name = ek->Name();
  }
  auto nonce = HexDecode(flags.nonce.value_or(""));
  if (!nonce.ok()) return WithContext(nonce.status(), "--nonce");
  in.challenge.qualifying_data = *std::move(nonce);
  in.challenge.ak = &*in.ak;
  in.challenge.accept_unknown_ak_attributes = flags.ak_attributes_unchecked;

  // Raw PCR values say nothing about themselves; the quote says what they are.
  // Nothing is believed yet: appraisal checks quote and values.
  // It also says what is wrong with an attestation that is no quote.
  const auto raw = tpm::ParseRawAttest(in.attest);
  if (!raw.ok()) {
    return InFile(
        WithContext(raw.status(), "no TPMS_ATTEST, as tpm2_quote -m writes it"),
        flags.quote);
  }
  const auto quote = tpm::ParseQuoteInfo(raw->attested);
  if (!flags.pcr_list.empty()) {
    auto selection = tpm::PcrSelection::FromString(flags.pcr_list);
    if (!selection.ok()) return WithContext(selection.status(), "--pcr-list");
    in.challenge.selection = *std::move(selection);
  }
  CUPEL_ASSIGN_OR_RETURN(
      tpm::PcrFile pcrs,
      LoadPcrs(flags.pcr_values, quote.ok() ? &quote->selection : nullptr));
  in.evidence.pcrs = std::move(pcrs.values);
  in.evidence.quote = {in.attest, in.signature};
  return absl::OkStatus();
}

absl::Status LoadReference(const AppraiseFlags& flags, Inputs& in) {
  if (flags.policy.policies.empty() && flags.policy.allowlist.empty()) {
    return absl::InvalidArgumentError(
        "no policy: give --policy FILE or --allowlist FILE");
  }
  CUPEL_ASSIGN_OR_RETURN(in.policies, LoadPolicies(flags.policy));
  CUPEL_ASSIGN_OR_RETURN(in.reference.policy, Compile(in.policies));
  if (!flags.tpm_policy.empty()) {
    CUPEL_ASSIGN_OR_RETURN(policy::TpmPolicy tpm_policy,
                           LoadTpmPolicy(flags.tpm_policy));
    in.reference.boot_rule = std::move(tpm_policy.pcrs);
    std::ranges::move(tpm_policy.warnings,
                      std::back_inserter(in.other_warnings));
  }
  CUPEL_ASSIGN_OR_RETURN(in.reference.padded_sha1_banks,
                         PaddedBanks(flags.padded_banks));
  in.reference.allow_sha1_bank = flags.allow_sha1_bank;
  in.reference.tolerate_violations = flags.tolerate_violations;
  if (!flags.tolerated_violations.empty()) {
    CUPEL_ASSIGN_OR_RETURN(policy::ExcludeList list,
                           LoadViolationPatterns(flags.tolerated_violations));
    CUPEL_ASSIGN_OR_RETURN(
        policy::ExcludeSet set,
        policy::CompileViolationPatterns(std::move(list.patterns)));
    in.reference.tolerated_violations =
        std::make_shared<const policy::ExcludeSet>(std::move(set));
    std::ranges::move(list.warnings, std::back_inserter(in.other_warnings));
  }
  CUPEL_ASSIGN_OR_RETURN(in.reference.ima_policies,
                         ImaPolicies(flags.ima_policies));
  in.reference.lab = flags.lab;
  for (const uint32_t pcr : flags.list_pcrs) in.reference.list_pcrs.set(pcr);
  return absl::OkStatus();
}

absl::Status CheckInputs(const AppraiseFlags& flags) {
  std::vector<std::string> paths = flags.policy.Paths();
  paths.insert(paths.end(), {flags.list_file, flags.tpm_policy, flags.pcrs,
                             flags.quote, flags.signature, flags.ak, flags.ek,
                             flags.pcr_values, flags.tolerated_violations});
  return CheckStandardInput(paths);
}

absl::Status Load(const AppraiseFlags& flags, Inputs& in) {
  CUPEL_RETURN_IF_ERROR(CheckQuoteFlags(flags));
  CUPEL_RETURN_IF_ERROR(CheckInputs(flags));
  CUPEL_RETURN_IF_ERROR(LoadReference(flags, in));
  CUPEL_ASSIGN_OR_RETURN(in.list, LoadList(flags.list_file, flags.list));
  in.evidence.list.bytes = in.list;
  in.evidence.list.byte_order = flags.list.ToOptions().byte_order;
  in.evidence.list.template_digest_size = flags.list.digest_size;
  if (!flags.quote.empty()) return LoadQuote(flags, in);
  if (!flags.pcrs.empty()) {
    CUPEL_ASSIGN_OR_RETURN(tpm::PcrFile pcrs, LoadPcrs(flags.pcrs, nullptr));
    in.evidence.pcrs = std::move(pcrs.values);
    if (in.evidence.pcrs.empty()) {
      return InFile(absl::InvalidArgumentError("no PCR values"), flags.pcrs);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<appraisal::Appraisal> Judge(const Inputs& in) {
  ProgressMeter meter("entries judged");
  appraisal::Options options;
  options.max_findings = kMaxFindings;
  options.on_progress = [&](uint64_t count) { meter.Update(count); };
  return appraisal::Appraise(in.evidence, in.challenge, in.reference, {},
                             options);
}

ExitCode Run(const AppraiseFlags& flags) {
  Inputs in;
  if (const absl::Status status = Load(flags, in); !status.ok()) {
    return Fail(status);
  }
  std::vector<policy::PolicyWarning> warnings = WarningsOf(in.policies);
  std::ranges::copy(in.other_warnings, std::back_inserter(warnings));
  PrintWarnings(warnings);
  const auto appraised = Judge(in);
  if (!appraised.ok()) return Fail(appraised.status());
  if (flags.json) {
    PrintJsonReport(*appraised);
  } else {
    PrintReport(*appraised);
  }
  return ExitCodeFor(appraised->verdict);
}

void RegisterQuoteFlags(CLI::App& command, AppraiseFlags& flags) {
  const auto file = [&](const char* name, std::string& value,
                        const char* text) {
    command.add_option(name, value, text)->type_name("FILE");
  };
  file("--quote", flags.quote, "The quote: TPMS_ATTEST, tpm2_quote's -m file");
  file("--signature", flags.signature,
       "Its signature: tpm2_quote's -s file, of either format");
  file("--ak", flags.ak,
       "The attestation key: TPM2B_PUBLIC or TPMT_PUBLIC; PEM only with "
       "--ak-attributes-unchecked");
  file("--ek", flags.ek,
       "The endorsement key: TPM2B_PUBLIC or TPMT_PUBLIC. Checks that the "
       "quote names the AK as its child; that the AK is in a TPM at all is "
       "for enrolment to show");
  command
      .add_option("--pcr-list", flags.pcr_list,
                  "The PCRs that were asked for, tpm2_quote's -l: the quote "
                  "has to cover these and no others")
      ->type_name("BANK:PCR,...");
  command
      .add_option("--nonce", flags.nonce,
                  "The quote's qualifying data, tpm2_quote's -q; \"\" for none")
      ->type_name("HEX");
  file("--pcr-values", flags.pcr_values,
       "The quoted PCRs' values: tpm2_quote's -o file in any format, or its "
       "output");
  command.add_flag("--ak-attributes-unchecked", flags.ak_attributes_unchecked,
                   "Accept an AK of which only the public key is known: it "
                   "may have signed what no TPM made");
}

}  // namespace

void RegisterAppraise(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<AppraiseFlags>();
  CLI::App* command = parent.add_subcommand(
      "appraise",
      "Judge a machine's evidence by a policy. With a quote the verdict is "
      "proven by the machine's TPM; with PCR values it is as good as they are; "
      "with neither it is about the list alone, and \"not proven by a TPM\".");
  command
      ->add_option("--ima-list", flags->list_file,
                   "The measurement list, binary or ASCII; - for standard "
                   "input")
      ->required()
      ->type_name("FILE");
  flags->list.Register(*command);
  flags->policy.Register(*command, /*positional=*/false);
  command
      ->add_option("--tpm-policy", flags->tpm_policy,
                   "Allowed PCR values: Keylime's tpm_policy, as JSON")
      ->type_name("FILE");
  command
      ->add_option("--pcrs", flags->pcrs,
                   "PCR values that nobody signed: output of tpm2_pcrread, "
                   "evmctl's PCR-10: lines, or JSON")
      ->type_name("FILE");
  RegisterQuoteFlags(*command, *flags);
  RegisterPadSha1(*command, flags->padded_banks);
  RegisterListPcrs(*command, flags->list_pcrs);
  RegisterImaPolicies(*command, flags->ima_policies);
  command->add_flag("--allow-sha1-bank", flags->allow_sha1_bank,
                    "Accept a list that only SHA-1 vouches for");
  command->add_flag("--tolerate-violations", flags->tolerate_violations,
                    "Report violations without failing for them");
  command
      ->add_option("--tolerate-violations-of", flags->tolerated_violations,
                   "The same for violations at paths that a pattern of this "
                   "file matches, a Python regular expression a line")
      ->type_name("FILE");
  command->add_flag("--lab", flags->lab,
                    "For TPM emulators without firmware: accept banks that "
                    "firmware never extended, and a boot_aggregate of zeros");
  command->add_flag("--json", flags->json, "Machine-readable output");
  AddExamples(
      *command,
      {"cupel-tenant appraise --ima-list list --allowlist allowlist.txt",
       "cupel-tenant appraise --ima-list list --policy policy.json \\",
       "    --quote q.msg --signature q.sig --pcr-values q.pcrs \\",
       "    --ak ak.pub --ek ek.pub --nonce 00112233"});
  command->callback([flags, &exit_code] { exit_code = Run(*flags); });
}

}  // namespace cupel::tenant
