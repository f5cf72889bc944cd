// cupel-tenant appraise, with the quotes beside lists of tests/vectors/ima
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/cli/cli.h"
#include "tests/support/real_lists.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

constexpr char kPassed[] = "INFO - appraisal passed, proven by a TPM's quote";

// A machine's evidence, and a policy that was made of its list.
struct KeptQuote {
  explicit KeptQuote(const RealList& real)
      : list(real.folder + "/binary_runtime_measurements"),
        quote(real.folder + "/quote.msg"),
        signature(real.folder + "/quote.sig"),
        ak(real.folder + "/ak.pub"),
        ek(real.folder + "/ek.pub"),
        nonce(HexEncode(AsBytes(TextOf(real.folder + "/nonce")))),
        pcrs(real.folder + "/pcrs.json") {
    REQUIRE(Tenant({"policy", "create", "--ima-list", list, "--buffers", "-o",
                    policy})
                .exit_code == 0);
    if (real.IsPadded()) {
      allowances = {"--pad-sha1", "sha384", "--allow-sha1-bank", "--lab"};
    }
    if (real.name == "vm-violations") allowances = {"--tolerate-violations"};
  }

  CommandResult Appraise() const {
    return Tenant(Arguments{"appraise", "--ima-list", list, "--policy", policy,
                            "--quote", quote, "--signature", signature, "--ak",
                            ak, "--ek", ek, "--nonce", nonce, "--pcr-values",
                            pcrs} +
                  allowances);
  }

  TemporaryFolder folder;
  std::string policy = folder / "policy.json";
  std::string list;
  std::string quote;
  std::string signature;
  std::string ak;
  std::string ek;
  std::string nonce;
  std::string pcrs;
  Arguments allowances;
};

TEST_CASE("kept quotes: each proves the list beside it") {
  size_t proven = 0;
  for (const RealList& real : RealLists()) {
    if (!real.IsQuoted()) continue;
    CAPTURE(real.name);
    const CommandResult result = KeptQuote(real).Appraise();
    if (real.IsAfterKexec()) {
      CHECK(result.exit_code == 1);
      CHECK(absl::StrContains(LastLine(result.out), "ima.history_lost"));
      continue;
    }
    CHECK(result.exit_code == 0);
    CHECK(LastLine(result.out) == kPassed);
    // No entry came after the quote.
    CHECK(absl::StrContains(
        result.out, absl::StrCat("fnf 0 hash 0 good ",
                                 ParseWhole(real.binary).size() -
                                     (real.name == "vm-violations" ? 2 : 0))));
    ++proven;
  }
  CHECK(proven == 7);
}

TEST_CASE("kept quotes: what a machine needs is asked for") {
  for (const auto& [name, id] : {std::pair{"vm-violations", "ima.violation"},
                                 std::pair{"vm-padded", "ima.history_lost"}}) {
    CAPTURE(name);
    KeptQuote kept(RealListNamed(name));
    kept.allowances.clear();
    if (name == std::string("vm-padded")) {
      kept.allowances = {"--allow-sha1-bank", "--lab"};
    }
    const CommandResult result = kept.Appraise();
    CHECK(result.exit_code == 1);
    CHECK(absl::StrContains(LastLine(result.out), id));
  }
}

TEST_CASE("kept quotes: one byte of the evidence changed proves nothing") {
  for (const RealList& real : RealLists()) {
    if (!real.IsQuoted() || real.IsAfterKexec()) continue;
    for (std::string KeptQuote::*const file :
         {&KeptQuote::list, &KeptQuote::quote, &KeptQuote::signature,
          &KeptQuote::ak, &KeptQuote::ek}) {
      KeptQuote kept(real);
      CAPTURE(real.name, kept.*file);
      std::string content = TextOf(kept.*file);
      // The last byte is covered in each: of a name, a digest, a number, a key.
      content.back() = static_cast<char>(content.back() ^ 1);
      kept.*file = kept.folder / "changed";
      Spill(kept.*file, content);
      const CommandResult result = kept.Appraise();
      CHECK(result.exit_code != 0);
      CHECK_FALSE(absl::StrContains(result.out, kPassed));
    }
    KeptQuote kept(real);
    CAPTURE(real.name, kept.nonce);
    kept.nonce.back() = kept.nonce.back() == '0' ? '1' : '0';
    const CommandResult result = kept.Appraise();
    CHECK(result.exit_code == 1);
    CHECK(absl::StrContains(LastLine(result.out), "quote.nonce"));
  }
}

}  // namespace
}  // namespace cupel::testing
