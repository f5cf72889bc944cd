#include "tests/support/evidence_builder.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/policy/boot_rule.h"
#include "common/policy/runtime_policy.h"
#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

constexpr uint32_t kBootPcrs = 10;
constexpr char kFirstFiles[3][16] = {"/usr/bin/init", "/usr/bin/sh",
                                     "/usr/lib/libc"};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "evidence builder: %s\n", status.ToString().c_str());
  std::abort();
}

template <typename T>
T Get(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}

}  // namespace

std::shared_ptr<const policy::CompiledPolicy> MakePolicy(
    const PolicyParts& parts) {
  auto policy = std::make_shared<policy::RuntimePolicy>();
  policy::DigestTable::Builder digests;
  for (const auto& [path, listed] : parts.digests) {
    Check(digests.AddPath(path));
    for (const Digest& digest : listed) {
      Check(digests.AddDigest(digest.algorithm(), digest.bytes()));
    }
  }
  policy->digests = std::move(digests).Build();
  for (const auto& [name, listed] : parts.buffers) {
    policy->buffers[name] = listed;
  }
  for (const std::string& text : parts.excludes) {
    policy->excludes.push_back({text, "excludes"});
  }
  for (const Digest& digest : parts.deny) {
    policy->deny.push_back(
        {.digest = digest, .path = "", .reason = "", .origin = "deny.json"});
  }
  policy->content_id = parts.content_id;
  return Get(policy::CompiledPolicy::Create({{policy, true}}));
}

absl::StatusOr<appraisal::Appraisal> ValidEvidence::TryAppraise() const {
  appraisal::Evidence evidence;
  evidence.list.bytes = list;
  evidence.list.byte_order = byte_order;
  evidence.list.template_digest_size = template_digest_size;
  evidence.list.first_entry = first_entry;
  if (quote.has_value()) evidence.quote = {quote->attest, quote->signature};
  evidence.pcrs = pcrs;
  appraisal::Challenge challenge;
  if (ak.has_value()) challenge.ak = &*ak;
  challenge.qualifying_data = nonce;
  challenge.selection = selection;
  challenge.ek_name = ek_name;
  challenge.accept_unknown_ak_attributes = accept_unknown_ak_attributes;
  return appraisal::Appraise(evidence, challenge, reference, progress, options);
}

appraisal::Appraisal ValidEvidence::Appraise() const {
  return Get(TryAppraise());
}

void ValidEvidence::Unreport(HashAlgorithm bank, uint32_t pcr) {
  tpm::PcrValues rest;
  pcrs.ForEach([&](uint32_t number, const Digest& value) {
    if (number == pcr && value.algorithm() == bank) return;
    Check(rest.Set(number, value));
  });
  pcrs = rest;
}

void ValidEvidence::Misreport(uint32_t pcr, const Digest& value) {
  Unreport(value.algorithm(), pcr);
  Check(pcrs.Set(pcr, value));
}

FakeMachine::FakeMachine(std::vector<HashAlgorithm> the_banks,
                         const FakeAkOptions& ak)
    : banks(std::move(the_banks)), tpm(ak) {
  for (uint32_t pcr = 0; pcr < kBootPcrs; ++pcr) {
    SetBootPcr(pcr, absl::StrCat("pcr ", pcr));
  }
  StartList();
}

FakeMachine& FakeMachine::Run(absl::string_view path, uint32_t pcr) {
  list.AddFile(path, FileDigestOf(path), pcr);
  policy.digests[std::string(path)] = {FileDigestOf(path)};
  return *this;
}

Digest FakeMachine::BootAggregate(HashAlgorithm bank) const {
  std::vector<uint8_t> values;
  const uint32_t count = bank == HashAlgorithm::kSha1 ? 8 : kBootPcrs;
  for (uint32_t pcr = 0; pcr < count; ++pcr) {
    const auto value = pcrs.find({bank, pcr});
    Append(values,
           (value == pcrs.end() ? Digest(bank) : value->second).bytes());
  }
  return crypto::Hash(bank, values);
}

void FakeMachine::SetBootPcr(uint32_t pcr, absl::string_view seed) {
  for (const HashAlgorithm bank : banks) {
    pcrs.insert_or_assign({bank, pcr}, FileDigestOf(seed, bank));
  }
}

void FakeMachine::ClearBootPcrs() {
  for (auto& [where, value] : pcrs) {
    if (where.second < kBootPcrs) value = Digest(where.first);
  }
}

void FakeMachine::StartList() {
  list = ListBuilder();
  list.AddFile("boot_aggregate", BootAggregate(banks.front()));
  for (const char* path : kFirstFiles) Run(path);
}

void FakeMachine::Reboot() {
  ++tpm.clock_info.reset_count;
  tpm.clock_info.restart_count = 0;
  StartList();
}

FakeTpm FakeMachine::TpmNow(const tpm::PcrSelection& selection) const {
  FakeTpm now = tpm;
  now.pcrs = {};
  for (const tpm::BankSelection& bank : selection.banks()) {
    if (std::ranges::find(banks, bank.bank) == banks.end()) continue;
    for (uint32_t pcr = 0; pcr < tpm::kPcrCount; ++pcr) {
      if (!bank.Has(pcr)) continue;
      const auto value = pcrs.find({bank.bank, pcr});
      Check(now.pcrs.Set(
          pcr, value == pcrs.end() ? list.Pcr(bank.bank, pcr) : value->second));
    }
  }
  return now;
}

ValidEvidence FakeMachine::Attest() const {
  ValidEvidence evidence;
  FakeTpm quoting = tpm;
  quoting.pcrs = {};
  std::vector<tpm::BankSelection> selected;
  for (const HashAlgorithm bank : banks) {
    selected.push_back({bank, quoted_pcrs});
    for (uint32_t pcr = 0; pcr < tpm::kPcrCount; ++pcr) {
      if ((quoted_pcrs >> pcr & 1) == 0) continue;
      const bool of_list = std::ranges::find(list_pcrs, pcr) != list_pcrs.end();
      const auto value = pcrs.find({bank, pcr});
      Check(quoting.pcrs.Set(pcr, of_list               ? list.Pcr(bank, pcr)
                                  : value == pcrs.end() ? Digest(bank)
                                                        : value->second));
    }
  }
  evidence.nonce = ToVector(AsBytes("a nonce of thirty-two bytes, new"));
  evidence.selection = Get(tpm::PcrSelection::Create(std::move(selected)));
  evidence.quote = quoting.Quote(*evidence.selection, evidence.nonce);
  evidence.pcrs = quoting.pcrs;
  evidence.list = list.bytes();
  evidence.ak = Get(tpm::AttestationKey::FromPublicArea(tpm.ak()));
  evidence.ek_name = tpm.ek_name();
  evidence.reference.policy = MakePolicy(policy);
  // The boot that was approved: this one.
  const auto composite = policy::ComputeBootComposite(
      banks.front(),
      [&](HashAlgorithm bank, uint32_t pcr) -> std::optional<Digest> {
        const Digest* value = evidence.pcrs.Find(bank, pcr);
        return value == nullptr ? std::nullopt : std::optional(*value);
      });
  if (composite.has_value()) {
    evidence.reference.boot_rule = policy::PinnedBoot{*composite};
  }
  return evidence;
}

std::shared_ptr<const policy::ExcludeSet> Tolerating(
    absl::string_view pattern) {
  return std::make_shared<const policy::ExcludeSet>(
      policy::ExcludeSet::Create({{std::string(pattern), "test"}}).value());
}

std::vector<std::string> FindingIds(const appraisal::Appraisal& appraisal) {
  std::vector<std::string> ids;
  for (const appraisal::Finding& finding : appraisal.findings) {
    ids.emplace_back(finding.id);
  }
  return ids;
}

const appraisal::Finding* FindFinding(const appraisal::Appraisal& appraisal,
                                      absl::string_view id) {
  for (const appraisal::Finding& finding : appraisal.findings) {
    if (finding.id == id) return &finding;
  }
  return nullptr;
}

}  // namespace cupel::testing
