#include "tests/support/conformance_adapter.h"

#include <openssl/bn.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/appraisal/appraise.h"
#include "common/appraisal/reference_values.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"
#include "common/ima/ascii_list.h"
#include "common/ima/boot_aggregate.h"
#include "common/ima/hashed_data.h"
#include "common/ima/replay.h"
#include "common/policy/allowlist.h"
#include "common/policy/compiled_policy.h"
#include "common/policy/digest_text.h"
#include "common/policy/exclude_list.h"
#include "common/policy/policy_file.h"
#include "common/policy/tpm_policy.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/make_credential_internal.h"
#include "common/tpm/pcr_file.h"
#include "common/tpm/public_area.h"
#include "common/tpm/quote.h"
#include "common/uefi/event_log.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "common/util/secret.h"
#include "common/util/status_macros.h"
#include "tests/support/boot_aggregate_line.h"
#include "tests/support/policy_schema.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using nlohmann::json;

constexpr size_t kMaxFileSize = size_t{64} << 20;

CaseAnswer Refused(absl::string_view why) {
  CaseAnswer answer;
  answer.why = std::string(why);
  return answer;
}
CaseAnswer Refused(const absl::Status& status) {
  return Refused(status.message());
}
CaseAnswer Passed() {
  CaseAnswer answer;
  answer.pass = true;
  return answer;
}

// An object's members by their names; null counts as absent.
class Inputs {
 public:
  Inputs(const std::string& folder, const json& object)
      : folder_(folder), object_(object) {}

  bool Has(const char* name) const { return Find(name) != nullptr; }
  // nullptr if it is absent.
  const json* Find(const char* name) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  absl::StatusOr<std::string> Text(const char* name) const {
    const json* value = Find(name);
    if (value == nullptr || !value->is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": no string"));
    }
    return value->get<std::string>();
  }
  absl::StatusOr<std::string> Text(const char* name,
                                   absl::string_view otherwise) const {
    if (!Has(name)) return std::string(otherwise);
    return Text(name);
  }
  absl::StatusOr<std::vector<uint8_t>> Hex(const char* name) const {
    CUPEL_ASSIGN_OR_RETURN(const std::string hex, Text(name));
    return HexDecode(hex);
  }
  // The content of the file that is named.
  absl::StatusOr<std::vector<uint8_t>> File(const char* name) const {
    CUPEL_ASSIGN_OR_RETURN(const std::string path, Text(name));
    return ReadFile(absl::StrCat(folder_, "/", path), kMaxFileSize);
  }
  absl::StatusOr<std::vector<std::string>> Texts(const char* name) const {
    const json* value = Find(name);
    if (value == nullptr || !value->is_array()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": no array"));
    }
    std::vector<std::string> texts;
    for (const json& element : *value) {
      if (!element.is_string()) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": no strings"));
      }
      texts.push_back(element.get<std::string>());
    }
    return texts;
  }
  absl::StatusOr<HashAlgorithm> Algorithm(const char* name,
                                          HashAlgorithm otherwise) const {
    if (!Has(name)) return otherwise;
    CUPEL_ASSIGN_OR_RETURN(const std::string text, Text(name));
    const auto algorithm = crypto::HashAlgorithmFromName(text);
    if (!algorithm.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", text));
    }
    return *algorithm;
  }

  const std::string& folder() const { return folder_; }

 private:
  const std::string& folder_;
  const json& object_;
};

json DigestsOf(const policy::DigestTable& table) {
  json digests = json::object();
  table.ForEach([&](absl::string_view path, std::span<const Digest> listed) {
    json& texts = digests[std::string(path)];
    for (const Digest& digest : listed) {
      texts.push_back(policy::FormatDigestText(digest));
    }
  });
  return digests;
}

// --- lists

ima::ListOptions OptionsFor(HashAlgorithm column) {
  ima::ListOptions options;
  options.template_digest_size = crypto::DigestSize(column);
  return options;
}

// The peer's names for the templates that it has.
std::string TemplateMode(absl::string_view name) {
  if (name == "ima") return "Ima";
  if (name == "ima-ng") return "ImaNg";
  if (name == "ima-sig") return "ImaSig";
  if (name == "ima-buf") return "ImaBuf";
  return std::string(name);
}

absl::StatusOr<CaseAnswer> AnswerEntry(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::string line, inputs.Text("line"));
  CUPEL_ASSIGN_OR_RETURN(const HashAlgorithm column,
                         inputs.Algorithm("hash_alg", HashAlgorithm::kSha1));
  CUPEL_ASSIGN_OR_RETURN(
      const HashAlgorithm bank,
      inputs.Algorithm("pcr_hash_alg", HashAlgorithm::kSha1));
  const auto list = ima::AsciiList::Parse(line, OptionsFor(column));
  if (!list.ok()) return Refused(list.status());
  if (list->entries().size() != 1) return Refused("not one entry");

  const ima::Entry& entry = list->entries().front();
  const Digest violation_column = Digest::Filled(column, 0xff);
  const Digest column_digest = ima::TemplateDigest(entry, column);
  CaseAnswer answer;
  ima::LegacyTemplateBuffer buffer;
  answer.outputs["pcr"] = absl::StrCat(entry.pcr);
  answer.outputs["mode"] = TemplateMode(entry.template_name);
  answer.outputs["template_data"] =
      HexEncode(ima::HashedTemplateData(entry, buffer));
  answer.outputs["template_hash"] = entry.IsViolation()
                                        ? violation_column.Hex()
                                        : HexEncode(entry.template_digest);
  answer.outputs["pcr_template_hash"] =
      entry.IsViolation() ? Digest::Filled(bank, 0xff).Hex()
                          : ima::TemplateDigest(entry, bank).Hex();
  answer.pass =
      entry.IsViolation() ||
      std::ranges::equal(column_digest.bytes(), entry.template_digest);
  if (!answer.pass) answer.why = "the template digest is not that of the data";
  return answer;
}

absl::StatusOr<CaseAnswer> AnswerBootAggregateLine(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::string line, inputs.Text("line"));
  const auto digest = ParseBootAggregateLine(line);
  if (!digest.ok()) return Refused(digest.status());
  CaseAnswer answer = Passed();
  answer.outputs["alg"] =
      std::string(crypto::HashAlgorithmName(digest->algorithm()));
  answer.outputs["digest"] = digest->Hex();
  return answer;
}

absl::StatusOr<CaseAnswer> AnswerPolicyFromLog(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> log, inputs.File("log"));
  // The digest column of these lists has the size that their first line shows.
  const absl::string_view text = AsText(log);
  const std::vector<absl::string_view> words =
      absl::StrSplit(text.substr(0, text.find('\n')), ' ');
  ima::ListOptions options;
  if (words.size() > 1) options.template_digest_size = words[1].size() / 2;
  const auto list = ima::AsciiList::Parse(text, options);
  if (!list.ok()) return Refused(list.status());
  const auto policy = appraisal::MakePolicyFromList(
      list->binary(), options, {.include_boot_aggregate = true});
  if (!policy.ok()) return Refused(policy.status());
  CaseAnswer answer = Passed();
  answer.outputs["digests"] = DigestsOf(policy->digests);
  return answer;
}

// --- policies

absl::StatusOr<policy::RuntimePolicy> LoadPolicy(
    std::vector<uint8_t> bytes, std::optional<crypto::PublicKey> key) {
  policy::PolicyFileOptions options;
  options.key = std::move(key);
  return policy::LoadPolicyFile(std::move(bytes), options);
}

absl::StatusOr<CaseAnswer> AnswerPolicyLoad(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                         inputs.File("policy"));
  if (inputs.Has("checksum")) {
    CUPEL_ASSIGN_OR_RETURN(const std::string checksum, inputs.Text("checksum"));
    if (policy::PolicyContentId(bytes) != checksum) {
      return Refused("another content");
    }
  }
  std::optional<crypto::PublicKey> key;
  if (inputs.Has("key")) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> pem, inputs.File("key"));
    CUPEL_ASSIGN_OR_RETURN(key, crypto::PublicKey::FromPem(AsText(pem)));
  }
  const auto policy = LoadPolicy(bytes, std::move(key));
  if (!policy.ok()) return Refused(policy.status());
  CaseAnswer answer = Passed();
  answer.outputs["n_digests"] = policy->digests.path_count();
  answer.outputs["n_keyrings"] = policy->keyrings.size();
  answer.outputs["version"] = policy->meta_version.value_or(-1);
  return answer;
}

absl::StatusOr<CaseAnswer> AnswerPolicySchema(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, inputs.File("policy"));
  const auto policy = LoadPolicy(std::move(bytes), std::nullopt);
  if (!policy.ok()) return Refused(policy.status());
  if (const absl::Status status = ValidateSchema(*policy); !status.ok()) {
    return Refused(status);
  }
  return Passed();
}

absl::StatusOr<CaseAnswer> AnswerExcludeList(const Inputs& inputs) {
  std::vector<policy::ExcludePattern> patterns;
  if (inputs.Has("excludes")) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                           inputs.Texts("excludes"));
    for (const std::string& text : texts) patterns.push_back({text, "case"});
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                         inputs.Texts("paths"));
  const auto excludes = policy::ExcludeSet::Create(std::move(patterns));
  if (!excludes.ok()) return Refused(excludes.status());
  CaseAnswer answer = Passed();
  json& matches = answer.outputs["matches"] = json::object();
  for (const std::string& path : paths) matches[path] = excludes->Matches(path);
  return answer;
}

absl::StatusOr<CaseAnswer> AnswerFlatAllowlist(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> text,
                         inputs.File("allowlist"));
  const auto policy = policy::ParseAllowlist(AsText(text), "case");
  if (!policy.ok()) return Refused(policy.status());
  CaseAnswer answer = Passed();
  answer.outputs["digests"] = DigestsOf(policy->digests);
  return answer;
}

// --- TPM structures

absl::StatusOr<CaseAnswer> AnswerName(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                         inputs.File("tpm2b_public"));
  const auto area = tpm::ParseTpm2bPublic(bytes);
  if (!area.ok()) return Refused(area.status());
  CaseAnswer answer = Passed();
  answer.outputs["name"] = HexEncode(area->Name());
  return answer;
}

absl::StatusOr<CaseAnswer> AnswerPublicKey(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                         inputs.File("tpm2b_public"));
  const auto area = tpm::ParseTpm2bPublic(bytes);
  if (!area.ok()) return Refused(area.status());
  const auto key = area->ToPublicKey();
  if (!key.ok()) return Refused(key.status());
  const auto pem = key->ToPem();
  if (!pem.ok()) return Refused(pem.status());
  CaseAnswer answer = Passed();
  answer.outputs["pem"] = *pem;
  return answer;
}

// A decimal number as `size` bytes, big-endian.
absl::StatusOr<std::vector<uint8_t>> BigEndian(const std::string& decimal,
                                               size_t size) {
  BIGNUM* number = nullptr;
  const int digits = BN_dec2bn(&number, decimal.c_str());
  const crypto::Owned<BIGNUM> owner(number);
  std::vector<uint8_t> bytes(size);
  if (digits == 0 || static_cast<size_t>(digits) != decimal.size() ||
      BN_bn2binpad(number, bytes.data(), static_cast<int>(size)) < 0) {
    return absl::InvalidArgumentError("no decimal number of that size");
  }
  return bytes;
}

// The file that tpm2_makecredential writes: its magic, version 1, and the two
// structures.
std::string CredentialFile(const tpm::Credential& credential) {
  std::vector<uint8_t> file;
  AppendBe(file, uint32_t{0xbadcc0de});
  AppendBe(file, uint32_t{1});
  Append(file, credential.id_object);
  Append(file, credential.encrypted_secret);
  return HexEncode(file);
}

absl::StatusOr<CaseAnswer> AnswerMakeCredential(const Inputs& inputs) {
  constexpr size_t kFieldSize = 32;  // P-256
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> ek, inputs.Hex("ek_tpm"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> name, inputs.Hex("name"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> secret,
                         inputs.Hex("challenge"));
  CUPEL_ASSIGN_OR_RETURN(const std::string decimal,
                         inputs.Text("ephemeral_ec_private"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> private_number,
                         BigEndian(decimal, kFieldSize));
  CUPEL_ASSIGN_OR_RETURN(
      const auto ephemeral,
      tpm::internal::EcKeyFromPrivate(crypto::EcCurve::kP256, private_number));
  const auto area = tpm::ParseTpm2bPublic(ek);
  if (!area.ok()) return Refused(area.status());
  const auto credential = tpm::internal::MakeCredentialWithEphemeral(
      *area, name, Secret(secret), ephemeral.get());
  if (!credential.ok()) return Refused(credential.status());
  CaseAnswer answer = Passed();
  answer.outputs["credential"] = CredentialFile(*credential);
  return answer;
}

absl::StatusOr<CaseAnswer> AnswerQuote(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> pem, inputs.File("ak_pem"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> attest, inputs.File("msg"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> signature,
                         inputs.File("sig"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> pcrs, inputs.File("pcrs"));
  CUPEL_ASSIGN_OR_RETURN(const std::string nonce, inputs.Text("nonce"));
  CUPEL_ASSIGN_OR_RETURN(const HashAlgorithm bank,
                         inputs.Algorithm("hash_alg", HashAlgorithm::kSha256));

  const auto key = tpm::AttestationKey::FromFile(pem);
  if (!key.ok()) return Refused(key.status());
  const auto file = tpm::ParsePcrFile(pcrs);
  if (!file.ok()) return Refused(file.status());
  uint32_t mask = 0;
  file->values.ForEach(
      [&mask](uint32_t pcr, const Digest&) { mask |= uint32_t{1} << pcr; });
  CUPEL_ASSIGN_OR_RETURN(const tpm::PcrSelection asked,
                         tpm::PcrSelection::Create({{bank, mask}}));
  tpm::QuoteExpectation expectation;
  expectation.qualifying_data = AsBytes(nonce);
  expectation.selection = &asked;
  expectation.values = &file->values;
  const auto outcome = tpm::VerifyQuote(*key, attest, signature, expectation);
  if (!outcome.ok()) return Refused(outcome.status());
  if (const auto* rejected = std::get_if<tpm::RejectedQuote>(&*outcome)) {
    std::string why;
    for (const tpm::FailedCheck& failed : rejected->failures) {
      absl::StrAppend(&why, tpm::QuoteCheckId(failed.check), " ");
    }
    return Refused(why);
  }
  CaseAnswer answer = Passed();
  json& values = answer.outputs["pcrs"] = json::object();
  std::get<tpm::VerifiedQuote>(*outcome).values().ForEach(
      [&](uint32_t pcr, const Digest& value) {
        values[absl::StrCat(pcr)] = value.Hex();
      });
  return answer;
}

// --- appraisal

// What one step of a machine's history hands over.
struct Step {
  std::string list;  // text
  uint64_t first_entry = 0;
  HashAlgorithm bank = HashAlgorithm::kSha256;
  std::optional<Digest> pcr;  // PCR 10
  // All three, or none.
  std::vector<uint8_t> attest;
  std::vector<uint8_t> signature;
  tpm::PcrValues pcrs;
  std::vector<uint8_t> qualifying_data;
};

// One machine, its policy, and how far its list was appraised.
class Machine {
 public:
  // Compiles the policy in the file `policy`. A policy that Cupel refuses, or
  // the lack of one, refuses every step. `bank` is what was asked for.
  static absl::StatusOr<Machine> Create(const Inputs& inputs,
                                        HashAlgorithm bank);

  // Appraises against the PCR value, where there is one.
  absl::StatusOr<CaseAnswer> AppraiseList(const Step& step);
  // Appraises against the quote by `ak`.
  absl::StatusOr<CaseAnswer> AppraiseQuoted(const Step& step,
                                            const tpm::AttestationKey& ak);

  bool has_policy() const { return reference_.policy != nullptr; }
  // Of the prefix that the last PCR value that was reached explains.
  uint64_t replayed_count() const { return replayed_count_; }
  void set_boot_rule(policy::BootRule rule) {
    reference_.boot_rule = std::move(rule);
  }

 private:
  absl::StatusOr<CaseAnswer> Appraise(const Step& step,
                                      appraisal::Evidence evidence,
                                      const appraisal::Challenge& challenge,
                                      std::span<const uint8_t> list,
                                      appraisal::Proof needed);
  // The PCR after the first prefix that gives `step.pcr`, or after everything.
  absl::Status Replay(const Step& step, std::span<const ima::Entry> entries,
                      CaseAnswer& answer);
  absl::StatusOr<ima::AsciiList> ParseList(const Step& step) const;

  appraisal::Reference reference_;
  std::string no_policy_;  // why there is none
  HashAlgorithm column_ = HashAlgorithm::kSha1;
  appraisal::Progress progress_;
  std::optional<ima::Replayer> replayed_;
  uint64_t replayed_count_ = 0;
};

absl::StatusOr<Machine> Machine::Create(const Inputs& inputs,
                                        HashAlgorithm bank) {
  Machine machine;
  machine.reference_.allow_sha1_bank = bank == HashAlgorithm::kSha1;
  if (const json* config = inputs.Find("config"); config != nullptr) {
    const json* ignore =
        Inputs(inputs.folder(), *config).Find("ignore_tomtou_errors");
    machine.reference_.tolerate_violations =
        ignore != nullptr && ignore->is_boolean() && ignore->get<bool>();
  }
  if (!inputs.Has("policy")) {
    machine.no_policy_ = "there is no policy";
    return machine;
  }
  CUPEL_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, inputs.File("policy"));
  auto policy = LoadPolicy(std::move(bytes), std::nullopt);
  if (!policy.ok()) {
    machine.no_policy_ = std::string(policy.status().message());
    return machine;
  }
  machine.column_ = crypto::HashAlgorithmFromName(policy->log_hash_alg)
                        .value_or(HashAlgorithm::kSha1);
  auto compiled = policy::CompiledPolicy::Create(
      {{std::make_shared<const policy::RuntimePolicy>(*std::move(policy)),
        /*allow_excludes=*/true}});
  if (!compiled.ok()) {
    machine.no_policy_ = std::string(compiled.status().message());
    return machine;
  }
  machine.reference_.policy = *std::move(compiled);
  return machine;
}

absl::StatusOr<ima::AsciiList> Machine::ParseList(const Step& step) const {
  ima::ListOptions options = OptionsFor(column_);
  if (step.first_entry != 0) {
    options.first_index = step.first_entry;
    options.first_offset = progress_.byte_offset;
  }
  return ima::AsciiList::Parse(step.list, options);
}

absl::Status Machine::Replay(const Step& step,
                             std::span<const ima::Entry> entries,
                             CaseAnswer& answer) {
  std::optional<ima::Replayer> replayer;
  if (step.first_entry != 0) replayer = replayed_;
  if (!replayer.has_value()) {
    CUPEL_ASSIGN_OR_RETURN(
        replayer,
        ima::Replayer::Create({{step.bank, ima::BankFill::kOwnHash}}));
  }
  if (step.pcr.has_value()) {
    const auto target =
        ima::ReplayTarget::FromValues({{step.bank, ima::kImaPcr, *step.pcr}});
    const std::optional<size_t> taken =
        replayer->Explains(target) ? 0 : replayer->ExtendUntil(entries, target);
    if (taken.has_value()) {
      replayed_ = *replayer;
      replayed_count_ = step.first_entry + *taken;
    }
  } else {
    replayer->Extend(entries);
  }
  answer.outputs["running_pcr"] =
      replayer->Value(step.bank, ima::kImaPcr).Hex();
  return absl::OkStatus();
}

absl::StatusOr<CaseAnswer> Machine::Appraise(
    const Step& step, appraisal::Evidence evidence,
    const appraisal::Challenge& challenge, std::span<const uint8_t> list,
    appraisal::Proof needed) {
  if (reference_.policy == nullptr) return Refused(no_policy_);
  evidence.list.bytes = list;
  evidence.list.template_digest_size = crypto::DigestSize(column_);
  evidence.list.first_entry = step.first_entry;
  CUPEL_ASSIGN_OR_RETURN(
      const appraisal::Appraisal appraisal,
      appraisal::Appraise(evidence, challenge, reference_, progress_));
  CaseAnswer answer;
  for (const appraisal::Finding& finding : appraisal.findings) {
    if (finding.severity == appraisal::Severity::kNotice) continue;
    absl::StrAppend(&answer.why, finding.id, " (", finding.detail, ") ");
  }
  answer.pass = appraisal.verdict == appraisal::Verdict::kPass &&
                appraisal.proof == needed;
  progress_ = appraisal.progress;
  if (answer.pass && needed != appraisal::Proof::kNone) {
    answer.outputs["next_ima_ml_entry"] = progress_.entry_count;
  }
  return answer;
}

absl::StatusOr<CaseAnswer> Machine::AppraiseList(const Step& step) {
  const auto list = ParseList(step);
  if (!list.ok()) return Refused(list.status());
  CaseAnswer answer;
  CUPEL_RETURN_IF_ERROR(Replay(step, list->entries(), answer));
  appraisal::Evidence evidence;
  appraisal::Proof needed = appraisal::Proof::kNone;
  if (step.pcr.has_value()) {
    CUPEL_RETURN_IF_ERROR(evidence.pcrs.Set(ima::kImaPcr, *step.pcr));
    needed = appraisal::Proof::kPcrs;
  }
  CUPEL_ASSIGN_OR_RETURN(
      CaseAnswer appraised,
      Appraise(step, std::move(evidence), {}, list->binary(), needed));
  appraised.outputs.update(answer.outputs);
  return appraised;
}

absl::StatusOr<CaseAnswer> Machine::AppraiseQuoted(
    const Step& step, const tpm::AttestationKey& ak) {
  const auto list = ParseList(step);
  if (!list.ok()) return Refused(list.status());
  appraisal::Evidence evidence;
  evidence.quote = {step.attest, step.signature};
  evidence.pcrs = step.pcrs;
  appraisal::Challenge challenge;
  challenge.ak = &ak;
  challenge.qualifying_data = step.qualifying_data;
  return Appraise(step, std::move(evidence), challenge, list->binary(),
                  appraisal::Proof::kQuote);
}

// The whole of a case with steps: it passes if they all do.
CaseAnswer Together(std::vector<CaseAnswer> steps) {
  CaseAnswer answer = Passed();
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].pass) continue;
    answer.pass = false;
    absl::StrAppend(&answer.why, "step ", i, ": ", steps[i].why, " ");
  }
  answer.steps = std::move(steps);
  return answer;
}

absl::StatusOr<Step> ReadListStep(const Inputs& inputs, HashAlgorithm bank) {
  Step step;
  step.bank = bank;
  if (inputs.Has("log")) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> log, inputs.File("log"));
    step.list = std::string(AsText(log));
  }
  if (inputs.Has("pcr")) {
    CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> pcr, inputs.Hex("pcr"));
    // A value of another size than the bank's is a value of another bank.
    const auto algorithm = crypto::ShaFromDigestSize(pcr.size());
    if (!algorithm.has_value()) {
      return absl::InvalidArgumentError("pcr: of no bank's size");
    }
    CUPEL_ASSIGN_OR_RETURN(step.pcr, Digest::Create(*algorithm, pcr));
  }
  return step;
}

absl::StatusOr<CaseAnswer> AnswerList(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const HashAlgorithm bank,
                         inputs.Algorithm("hash_alg", HashAlgorithm::kSha1));
  CUPEL_ASSIGN_OR_RETURN(Machine machine, Machine::Create(inputs, bank));
  const json* steps = inputs.Find("steps");
  if (steps == nullptr) {
    CUPEL_ASSIGN_OR_RETURN(const Step step, ReadListStep(inputs, bank));
    return machine.AppraiseList(step);
  }
  std::vector<CaseAnswer> answers;
  uint64_t first_entry = 0;
  for (const json& object : *steps) {
    CUPEL_ASSIGN_OR_RETURN(Step step,
                           ReadListStep(Inputs(inputs.folder(), object), bank));
    step.first_entry = first_entry;
    CUPEL_ASSIGN_OR_RETURN(CaseAnswer answer, machine.AppraiseList(step));
    // The data's machine sends its whole list again after a step that failed.
    const bool goes_on = answer.pass || !machine.has_policy();
    first_entry = goes_on ? machine.replayed_count() : 0;
    answers.push_back(std::move(answer));
  }
  return Together(std::move(answers));
}

// Splits "r" BASE64 ":" BASE64 ":" BASE64 into TPMS_ATTEST, TPMT_SIGNATURE and
// a file of PCR values.
absl::Status ReadQuoteText(absl::string_view text, Step& step) {
  if (!absl::StartsWith(text, "r")) {
    return absl::InvalidArgumentError("quote: no r in front");
  }
  const std::vector<absl::string_view> parts =
      absl::StrSplit(text.substr(1), ':');
  std::string attest, signature, pcrs;
  if (parts.size() != 3 || !absl::Base64Unescape(parts[0], &attest) ||
      !absl::Base64Unescape(parts[1], &signature) ||
      !absl::Base64Unescape(parts[2], &pcrs)) {
    return absl::InvalidArgumentError("quote: not three parts of Base64");
  }
  step.attest = ToVector(AsBytes(attest));
  step.signature = ToVector(AsBytes(signature));
  CUPEL_ASSIGN_OR_RETURN(tpm::PcrFile file, tpm::ParsePcrFile(AsBytes(pcrs)));
  step.pcrs = std::move(file.values);
  return absl::OkStatus();
}

// Reads the members of a response that Cupel's evidence has. An error is a
// refusal of the response.
absl::StatusOr<Step> ReadResponse(const Inputs& response) {
  Step step;
  CUPEL_ASSIGN_OR_RETURN(step.list, response.Text("ima_measurement_list", ""));
  if (const json* first = response.Find("ima_measurement_list_entry");
      first != nullptr) {
    if (!first->is_number_unsigned()) {
      return absl::InvalidArgumentError("ima_measurement_list_entry");
    }
    step.first_entry = first->get<uint64_t>();
  }
  CUPEL_ASSIGN_OR_RETURN(const std::string quote, response.Text("quote"));
  CUPEL_RETURN_IF_ERROR(ReadQuoteText(quote, step));
  return step;
}

absl::StatusOr<CaseAnswer> AnswerAttestationStep(const Inputs& inputs,
                                                 const tpm::AttestationKey& ak,
                                                 Machine& machine) {
  CUPEL_ASSIGN_OR_RETURN(const std::string nonce, inputs.Text("nonce"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> file,
                         inputs.File("response"));
  json response = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (response.is_discarded()) {
    return absl::InvalidArgumentError("response: no JSON");
  }
  if (response.contains("results")) response = response["results"];
  auto step = ReadResponse(Inputs(inputs.folder(), response));
  if (!step.ok()) return Refused(step.status());
  step->qualifying_data = ToVector(AsBytes(nonce));
  return machine.AppraiseQuoted(*step, ak);
}

absl::StatusOr<CaseAnswer> AnswerAttestation(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> public_file,
                         inputs.File("ak_tpm"));
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea area,
                         tpm::ParseTpm2bPublic(public_file));
  CUPEL_ASSIGN_OR_RETURN(const tpm::AttestationKey ak,
                         tpm::AttestationKey::FromPublicArea(area));
  CUPEL_ASSIGN_OR_RETURN(Machine machine,
                         Machine::Create(inputs, HashAlgorithm::kSha256));
  if (const json* rule = inputs.Find("tpm_policy"); rule != nullptr) {
    const auto parsed = policy::ParseTpmPolicy(rule->dump(), "tpm_policy");
    if (!parsed.ok()) return Refused(parsed.status());
    machine.set_boot_rule(parsed->pcrs);
  }
  const json* steps = inputs.Find("steps");
  if (steps == nullptr || !steps->is_array()) {
    return absl::InvalidArgumentError("steps: no array");
  }
  std::vector<CaseAnswer> answers;
  for (const json& step : *steps) {
    CUPEL_ASSIGN_OR_RETURN(
        CaseAnswer answer,
        AnswerAttestationStep(Inputs(inputs.folder(), step), ak, machine));
    answers.push_back(std::move(answer));
  }
  if (answers.size() == 1) return answers.front();
  return Together(std::move(answers));
}

// The PCRs of a bank that an event log gives, and boot_aggregate by the two
// rules that kernels have had: over PCR 0 to 7, and over PCR 0 to 9.
absl::StatusOr<CaseAnswer> AnswerEventLog(const Inputs& inputs) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> file, inputs.File("log"));
  CUPEL_ASSIGN_OR_RETURN(const HashAlgorithm bank,
                         inputs.Algorithm("hash_alg", HashAlgorithm::kSha256));
  const auto log = uefi::ParseEventLog(file);
  if (!log.ok()) return Refused(log.status());
  const auto pcrs = uefi::ReplayEventLog(*log, bank);
  if (!pcrs.ok()) return Refused(pcrs.status());
  CaseAnswer answer;
  answer.pass = true;
  answer.outputs["n_events"] = log->events.size();
  json& values = answer.outputs["pcrs"] = json::object();
  for (uint32_t pcr = 0; pcr < pcrs->size(); ++pcr) {
    const auto& value = (*pcrs)[pcr];
    if (value.has_value()) values[std::to_string(pcr)] = value->Hex();
  }
  json& aggregates = answer.outputs["boot_aggregates"] = json::object();
  for (const HashAlgorithm each : log->banks) {
    const auto replayed = uefi::ReplayEventLog(*log, each);
    if (!replayed.ok()) return Refused(replayed.status());
    std::vector<uint8_t> message;
    json& of_bank = aggregates[std::string(crypto::HashAlgorithmName(each))] =
        json::array();
    for (uint32_t pcr = 0; pcr < 10; ++pcr) {
      Append(message, (*replayed)[pcr].value_or(Digest(each)).bytes());
      if (pcr == 7 || pcr == 9) {
        of_bank.push_back(crypto::Hash(each, message).Hex());
      }
    }
  }
  return answer;
}

struct KindAdapter {
  absl::string_view kind;
  absl::StatusOr<CaseAnswer> (*answer)(const Inputs& inputs);
};
constexpr KindAdapter kAdapters[] = {
    {"attestation", AnswerAttestation},
    {"boot_aggregate_line", AnswerBootAggregateLine},
    {"exclude_list", AnswerExcludeList},
    {"flat_allowlist", AnswerFlatAllowlist},
    {"ima_entry", AnswerEntry},
    {"ima_list", AnswerList},
    {"makecredential", AnswerMakeCredential},
    {"mb_parse", AnswerEventLog},
    {"policy_from_log", AnswerPolicyFromLog},
    {"policy_load", AnswerPolicyLoad},
    {"policy_schema", AnswerPolicySchema},
    {"quote", AnswerQuote},
    {"tpm2b_name", AnswerName},
    {"tpm2b_pubkey", AnswerPublicKey},
};

}  // namespace

absl::StatusOr<CaseAnswer> AnswerCase(const std::string& folder,
                                      absl::string_view kind,
                                      const json& inputs) {
  for (const KindAdapter& adapter : kAdapters) {
    if (adapter.kind == kind) return adapter.answer(Inputs(folder, inputs));
  }
  return absl::UnimplementedError(absl::StrCat("no adapter for ", kind));
}

}  // namespace cupel::testing
