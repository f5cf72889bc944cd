// How fast lists are replayed and appraised, policies loaded and quotes
// checked, each beside a reference of the same run.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "common/appraisal/appraise.h"
#include "common/crypto/sha_batch.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"
#include "common/policy/compiled_policy.h"
#include "common/policy/policy_file.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/quote.h"
#include "common/tpm/signature.h"
#include "common/util/bytes.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/list_builder.h"

namespace cupel::bench {
namespace {

using ::benchmark::State;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeAkOptions;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::ListBuilder;

constexpr int kRepetitions = 7;
constexpr size_t kReplayEntries = 50'000;
constexpr size_t kPolicyPaths = 100'000;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "replay_bench: %s\n", what);
  std::exit(1);
}

// Distinct paths of `mean` bytes on average, 25 to 2 * mean - 25, as names
// under /usr are.
std::string PathOf(size_t i, size_t mean, std::mt19937& random) {
  std::string path = absl::StrCat("/usr/lib/x86_64-linux-gnu/", i, "/");
  const size_t size = 25 + random() % (2 * (mean - 25) + 1);
  while (path.size() < size) {
    path.push_back(static_cast<char>('a' + random() % 26));
  }
  return path;
}

// Of what ListBuilder keeps of a list: its bytes and the SHA-256 PCR.
struct BenchList {
  std::vector<uint8_t> bytes;
  Digest pcr10;
  size_t entries = 0;
};

BenchList MakeReplayList() {
  // 44 bytes of d-ng and 5 of n-ng beside the path: a mean of 116.
  std::mt19937 random(1);
  ListBuilder builder;
  builder.AddFile("boot_aggregate", FileDigestOf("boot"));
  for (size_t i = 1; i < kReplayEntries; ++i) {
    const std::string path = PathOf(i, 67, random);
    builder.AddFile(path, FileDigestOf(path));
  }
  return {builder.bytes(), builder.Pcr(HashAlgorithm::kSha256), builder.size()};
}

const BenchList& ReplayList() {
  static const BenchList list = MakeReplayList();
  return list;
}

// The floor: as many extends as the list has entries, one after another, with
// OpenSSL's low-level functions.
void BM_ExtendChain(State& state) {
  alignas(16) std::array<uint8_t, 64> block{};
  for (auto _ : state) {
    for (size_t i = 0; i < kReplayEntries; ++i) {
      SHA256_CTX context;
      SHA256_Init(&context);
      SHA256_Update(&context, block.data(), block.size());
      SHA256_Final(block.data(), &context);
    }
    benchmark::DoNotOptimize(block);
  }
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(kReplayEntries));
}
BENCHMARK(BM_ExtendChain)->Repetitions(kRepetitions);

bool ReplaysTo(ima::Replayer& replayer, const ima::ReplayTarget& target,
               const BenchList& list) {
  bool found = false;
  ima::ListParser parser{ima::ListOptions{}};
  const auto status =
      parser.Feed(list.bytes, [&](std::span<const ima::Entry> entries) {
        found |= replayer.ExtendUntil(entries, target).has_value();
        return absl::OkStatus();
      });
  return status.ok() && found;
}

// Parsing, template hashes and extends, and the search for the quoted value.
void BM_Replay(State& state) {
  const BenchList& list = ReplayList();
  for (auto _ : state) {
    auto replayer = ima::Replayer::Create({{HashAlgorithm::kSha256}});
    const auto target = ima::ReplayTarget::FromValues(
        {{HashAlgorithm::kSha256, ima::kImaPcr, list.pcr10}});
    Require(ReplaysTo(*replayer, target, list), "the list does not replay");
  }
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(list.entries));
}
BENCHMARK(BM_Replay)->Repetitions(kRepetitions);

// The same to a quote's digest over PCR 0 to 10: another digest is compared
// after every entry.
void BM_ReplayToQuote(State& state) {
  const BenchList& list = ReplayList();
  std::vector<ima::ReplayTarget::Slot> slots;
  std::vector<uint8_t> values;
  for (uint32_t pcr = 0; pcr < ima::kImaPcr; ++pcr) {
    slots.push_back({HashAlgorithm::kSha256, pcr, FileDigestOf("firmware")});
    Append(values, slots.back().fixed->bytes());
  }
  slots.push_back({HashAlgorithm::kSha256, ima::kImaPcr, std::nullopt});
  Append(values, list.pcr10.bytes());
  for (auto _ : state) {
    auto replayer = ima::Replayer::Create({{HashAlgorithm::kSha256}});
    const auto target = ima::ReplayTarget::FromComposite(
        crypto::Hash(HashAlgorithm::kSha256, values), slots);
    Require(ReplaysTo(*replayer, target, list), "the list does not replay");
  }
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(list.entries));
}
BENCHMARK(BM_ReplayToQuote)->Repetitions(kRepetitions);

// The same without SHA instructions.
void BM_HashAndExtendPortable(State& state) {
  const BenchList& list = ReplayList();
  std::vector<std::vector<uint8_t>> messages;
  ima::ListParser parser{ima::ListOptions{}};
  Require(parser
              .Feed(list.bytes,
                    [&](std::span<const ima::Entry> entries) {
                      for (const auto& entry : entries) {
                        messages.push_back(ToVector(entry.template_data));
                      }
                      return absl::OkStatus();
                    })
              .ok(),
          "the list does not parse");
  const crypto::Sha256Value zero{};
  std::vector<crypto::Sha256Value> after(messages.size());
  std::vector<crypto::Sha256Extend> items(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    items[i].message = messages[i];
    items[i].before = i == 0 ? &zero : &after[i - 1];
  }
  for (auto _ : state) crypto::Sha256HashAndExtendPortable(items, after);
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(list.entries));
}
BENCHMARK(BM_HashAndExtendPortable)->Repetitions(kRepetitions);

std::string PolicyJson(size_t paths) {
  std::mt19937 random(2);
  std::string json = R"({"meta":{"version":1,"generator":0},"release":0,
"digests":{)";
  for (size_t i = 0; i < paths; ++i) {
    const std::string path = PathOf(i, 60, random);
    absl::StrAppend(&json, i == 0 ? "" : ",\n", "\"", path, "\":[\"",
                    FileDigestOf(path).Hex(), "\"]");
  }
  absl::StrAppend(&json, "},\n\"excludes\":[");
  for (int i = 0; i < 20; ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", "\"/var/lib/service", i,
                    "/.*\\\\.cache$\"");
  }
  absl::StrAppend(&json, R"(],"keyrings":{},
"ima":{"ignored_keyrings":[],"log_hash_alg":"sha1","dm_policy":null},
"ima-buf":{},"verification-keys":""})");
  return json;
}

policy::RuntimePolicy LoadPolicy(const std::string& json) {
  auto loaded = policy::LoadPolicyFile(ToVector(AsBytes(json)), {});
  Require(loaded.ok(), "the policy does not load");
  return *std::move(loaded);
}

// The whole appraisal: 10^5 digests, 20 excludes, paths of 60 bytes on average,
// all distinct, 95 % of them listed. The rest is excluded or a finding.
void BM_Appraise(State& state) {
  std::mt19937 random(2);
  ListBuilder builder;
  const Digest pcr0 = FileDigestOf("firmware");
  std::vector<uint8_t> boot;
  for (int i = 0; i < 10; ++i) Append(boot, pcr0.bytes());
  builder.AddFile("boot_aggregate", crypto::Hash(HashAlgorithm::kSha256, boot));
  for (size_t i = 0; i < kPolicyPaths; ++i) {
    const std::string path = PathOf(i, 60, random);
    if (i % 20 != 7) {
      builder.AddFile(path, FileDigestOf(path));
    } else if (i % 40 == 7) {
      builder.AddFile(absl::StrCat("/var/lib/service3/", i, ".cache"),
                      FileDigestOf(path));
    } else {
      builder.AddFile(absl::StrCat("/opt/unlisted/", path), FileDigestOf(path));
    }
  }
  auto compiled = policy::CompiledPolicy::Create(
      {{std::make_shared<const policy::RuntimePolicy>(
          LoadPolicy(PolicyJson(kPolicyPaths)))}});
  Require(compiled.ok(), "the policy does not compile");
  appraisal::Evidence evidence;
  evidence.list.bytes = builder.bytes();
  for (uint32_t pcr = 0; pcr < 10; ++pcr) {
    Require(evidence.pcrs.Set(pcr, pcr0).ok(), "PCR values");
  }
  Require(evidence.pcrs.Set(10, builder.Pcr(HashAlgorithm::kSha256)).ok(),
          "PCR values");
  appraisal::Reference reference;
  reference.policy = *compiled;
  appraisal::Options options;
  options.max_findings = 100;
  for (auto _ : state) {
    const auto appraisal =
        appraisal::Appraise(evidence, {}, reference, {}, options);
    Require(appraisal.ok() &&
                appraisal->counts.not_in_policy == kPolicyPaths / 40 &&
                appraisal->counts.excluded == kPolicyPaths / 40 &&
                appraisal->counts.good == kPolicyPaths / 20 * 19 + 1 &&
                appraisal->proof == appraisal::Proof::kPcrs,
            "the appraisal is not what it should be");
  }
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(builder.size()));
}
BENCHMARK(BM_Appraise)->Repetitions(kRepetitions);

// An item is a digest.
void BM_PolicyLoad(State& state) {
  const auto paths = static_cast<size_t>(state.range(0));
  const std::string json = PolicyJson(paths);
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<uint8_t> bytes = ToVector(AsBytes(json));
    state.ResumeTiming();
    auto loaded = policy::LoadPolicyFile(std::move(bytes), {});
    Require(loaded.ok(), "the policy does not load");
    benchmark::DoNotOptimize(loaded);
    state.PauseTiming();
    loaded = absl::UnknownError("");
    state.ResumeTiming();
  }
  malloc_trim(0);
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  const policy::RuntimePolicy policy = LoadPolicy(json);
  const size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd - before;
  const auto digests = static_cast<double>(policy.digests.digest_count());
  const auto payload = static_cast<double>(policy.digests.payload_size());
  state.counters["B/digest over"] =
      (static_cast<double>(policy.digests.memory_size()) - payload) / digests;
  state.counters["heap B/digest over"] =
      (static_cast<double>(heap) - payload) / digests;
  state.counters["seconds"] = benchmark::Counter(
      static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_PolicyLoad)
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Unit(benchmark::kMillisecond)
    ->Repetitions(3);

// A quote as a verifier gets it, PCR 0 to 10.
struct QuoteCase {
  explicit QuoteCase(const FakeAkOptions& options)
      : tpm(options), key(*tpm::AttestationKey::FromPublicArea(tpm.ak())) {
    for (uint32_t pcr = 0; pcr <= 10; ++pcr) {
      Require(tpm.pcrs.Set(pcr, FileDigestOf(absl::StrCat(pcr))).ok(), "PCRs");
    }
    selection = *tpm::PcrSelection::FromString("sha256:0,1,2,3,4,5,6,7,8,9,10");
    quote = tpm.Quote(selection, nonce);
  }
  FakeTpm tpm;
  tpm::AttestationKey key;
  tpm::PcrSelection selection;
  std::vector<uint8_t> nonce = std::vector<uint8_t>(32, 0x11);
  testing::FakeQuote quote;
};

void VerifyQuoteLoop(State& state, const FakeAkOptions& options) {
  const QuoteCase c(options);
  tpm::QuoteExpectation expectation;
  expectation.qualifying_data = c.nonce;
  expectation.selection = &c.selection;
  expectation.values = &c.tpm.pcrs;
  expectation.ek_name = c.tpm.ek_name();
  for (auto _ : state) {
    const auto outcome =
        tpm::VerifyQuote(c.key, c.quote.attest, c.quote.signature, expectation);
    Require(
        outcome.ok() && std::holds_alternative<tpm::VerifiedQuote>(*outcome),
        "the quote is not accepted");
  }
  state.SetItemsProcessed(state.iterations());
}

void DigestVerifyLoop(State& state, const FakeAkOptions& options) {
  const QuoteCase c(options);
  const auto signature = tpm::ParseSignature(c.quote.signature);
  Require(signature.ok(), "the signature does not parse");
  const std::vector<uint8_t> bytes =
      signature->scheme == tpm::AlgId::kEcdsa
          ? *crypto::EcdsaSignatureToDer(signature->r, signature->s)
          : signature->rsa;
  for (auto _ : state) {
    const crypto::Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    Require(
        EVP_DigestVerifyInit(context.get(), nullptr,
                             crypto::FetchedDigest(HashAlgorithm::kSha256),
                             nullptr, c.key.key().get()) == 1 &&
            EVP_DigestVerify(context.get(), bytes.data(), bytes.size(),
                             c.quote.attest.data(), c.quote.attest.size()) == 1,
        "the signature is not valid");
  }
  state.SetItemsProcessed(state.iterations());
}

const FakeAkOptions kP256 = {};
const FakeAkOptions kRsa2048 = {.kind = FakeKeyKind::kRsa2048,
                                .scheme = tpm::AlgId::kRsassa};

void BM_DigestVerifyP256(State& state) { DigestVerifyLoop(state, kP256); }
void BM_VerifyQuoteP256(State& state) { VerifyQuoteLoop(state, kP256); }
void BM_DigestVerifyRsa2048(State& state) { DigestVerifyLoop(state, kRsa2048); }
void BM_VerifyQuoteRsa2048(State& state) { VerifyQuoteLoop(state, kRsa2048); }
BENCHMARK(BM_DigestVerifyP256)->Repetitions(kRepetitions);
BENCHMARK(BM_VerifyQuoteP256)->Repetitions(kRepetitions);
BENCHMARK(BM_DigestVerifyRsa2048)->Repetitions(kRepetitions);
BENCHMARK(BM_VerifyQuoteRsa2048)->Repetitions(kRepetitions);

}  // namespace
}  // namespace cupel::bench

int main(int argc, char** argv) {
  // One repetition of each in turn: what slows the machine slows them alike.
  std::vector<char*> arguments(argv, argv + argc);
  char interleave[] = "--benchmark_enable_random_interleaving=true";
  arguments.push_back(interleave);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  std::printf("SHA instructions: %s\n",
              cupel::crypto::HasShaInstructions() ? "yes" : "no");
  cupel::bench::RatioReporter reporter(
      {{"replay / chain of extends", "BM_Replay", "BM_ExtendChain", 0.6, 0.8},
       {"replay to a quote / chain of extends", "BM_ReplayToQuote",
        "BM_ExtendChain", 0, 0},
       {"the same without SHA-NI code", "BM_HashAndExtendPortable",
        "BM_ExtendChain", 0, 0},
       {"appraisal, 10^5 digests / chain of extends", "BM_Appraise",
        "BM_ExtendChain", 0.35, 0},
       {"VerifyQuote P-256 / EVP_DigestVerify", "BM_VerifyQuoteP256",
        "BM_DigestVerifyP256", 0.9, 0},
       {"VerifyQuote RSA-2048 / EVP_DigestVerify", "BM_VerifyQuoteRsa2048",
        "BM_DigestVerifyRsa2048", 0.9, 0}});
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return 0;
}
