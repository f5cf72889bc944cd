// cupel-tenant appraise, with real quotes

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

std::string InQuotes(const std::string& name) {
  return VectorPath("quote/" + name);
}

std::string Nonce() { return HexEncode(AsBytes(TextOf(InQuotes("nonce")))); }

// What `appraise` is given about the quote `name` of the machine whose list is
// in ima/quote. The guide's allowlist has no boot_aggregate, the full one has.
struct QuoteCase {
  explicit QuoteCase(const std::string& name = "qall")
      : quote(InQuotes(name + ".msg")),
        signature(InQuotes(name + ".sig")),
        pcr_values(InQuotes(name + ".pcrs")) {
    Spill(policy, AllowlistOf(QuotedList()));
  }

  Arguments Command() const {
    Arguments command = {"appraise", "--ima-list",   list,      "--policy",
                         policy,     "--quote",      quote,     "--signature",
                         signature,  "--ak",         ak,        "--nonce",
                         nonce,      "--pcr-values", pcr_values};
    if (!ek.empty()) command = command + Arguments{"--ek", ek};
    return command;
  }
  CommandResult Appraise(const Arguments& more = {}) const {
    return Tenant(Command() + more);
  }
  // The file `path` with its byte at `offset` changed, from the end if that is
  // negative.
  std::string Changed(const std::string& path, int offset) const {
    std::string content = TextOf(path);
    const size_t at = offset >= 0
                          ? static_cast<size_t>(offset)
                          : content.size() - static_cast<size_t>(-offset);
    content.at(at) = static_cast<char>(content.at(at) ^ 1);
    Spill(folder / "changed", content);
    return folder / "changed";
  }

  TemporaryFolder folder;
  std::string list = QuotedList();
  std::string policy = folder / "policy";
  std::string quote;
  std::string signature;
  std::string ak = InQuotes("ak.pub");
  std::string ek = InQuotes("ek.pub");
  std::string nonce = Nonce();
  std::string pcr_values;
};

void CheckProven(const CommandResult& result) {
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(absl::StrContains(
      result.out, "INFO - IMA OK: template-hash 0 fnf 0 hash 0 good 72\n"));
  CHECK(absl::StrContains(result.out, "INFO - 2 entries came after"));
  CHECK(LastLine(result.out) ==
        "INFO - appraisal passed, proven by a TPM's quote");
}

// A finding that failed the appraisal, and nothing believed.
void CheckUnproven(const CommandResult& result, absl::string_view id) {
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, absl::StrCat("WARNING - ", id, ": ")));
  CHECK(absl::StrContains(LastLine(result.out), id));
  CHECK(absl::StrContains(LastLine(result.out), "not proven by a TPM"));
}

TEST_CASE("quote: PCR 0 to 15, values serialized, RSA") {
  const QuoteCase c("qall");
  const CommandResult result = c.Appraise();
  CheckProven(result);
  CHECK(absl::StrContains(result.out, "ima.boot_aggregate_listed"));
  CHECK_FALSE(absl::StrContains(result.out, "quote.signer_unchecked"));
}

TEST_CASE("quote: PCR 10 of two banks, raw values, RSA") {
  CheckProven(QuoteCase("q10").Appraise());
}

TEST_CASE("quote: PCR 10, raw values, ECC") {
  QuoteCase c("qecc");
  c.ak = InQuotes("akecc.pub");
  c.ek = "";
  const CommandResult result = c.Appraise();
  CheckProven(result);
  CHECK(absl::StrContains(result.out, "INFO - quote.signer_unchecked"));
}

TEST_CASE("quote --pcr-list: the quote covers what was asked for") {
  const QuoteCase all("qall");
  CHECK(absl::StrContains(all.Appraise().out,
                          "INFO - quote.selection_unchecked"));
  const CommandResult right = all.Appraise(
      {"--pcr-list", "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"});
  CheckProven(right);
  CHECK_FALSE(absl::StrContains(right.out, "quote.selection"));
  for (const char* asked : {"sha256:10", "sha1:10", "sha256:0,10+sha1:10"}) {
    CheckUnproven(all.Appraise({"--pcr-list", asked}), "quote.selection");
  }
  CHECK_THAT(all.Appraise({"--pcr-list", "sha256"}), IsRefused("--pcr-list"));
  // The order of the banks is part of what was asked for.
  const QuoteCase banks("q10");
  CheckProven(banks.Appraise({"--pcr-list", "sha256:10+sha1:10"}));
  CheckUnproven(banks.Appraise({"--pcr-list", "sha1:10+sha256:10"}),
                "quote.selection");
}

TEST_CASE("quote: the values as tpm2_checkquote prints them") {
  QuoteCase c("qall");
  c.pcr_values = InQuotes("checkquote.txt");
  CheckProven(c.Appraise());
}

TEST_CASE("quote: more values than were quoted do not matter") {
  QuoteCase c("q10");
  // Of all PCRs, when 72 entries were listed; SHA-1's value of PCR 10 lacks.
  c.pcr_values = InQuotes("checkquote.txt");
  CheckProven(c.Appraise());
}

TEST_CASE("quote: the AK as TPM2B_PUBLIC and as PEM") {
  QuoteCase c("qall");
  c.ak = InQuotes("ak.tpm2b_public");
  CheckProven(c.Appraise());

  c.ak = InQuotes("ak.pem");
  c.ek = "";
  const CommandResult unknown = c.Appraise();
  CHECK(unknown.exit_code == 2);
  CHECK(absl::StrContains(
      unknown.out, "ERROR - could not decide - quote.ak_attributes_unknown"));
  CHECK(absl::StrContains(unknown.out, "--ak-attributes-unchecked"));
  CHECK(absl::StrContains(LastLine(unknown.out), "not proven by a TPM"));

  const CommandResult accepted = c.Appraise({"--ak-attributes-unchecked"});
  CHECK(accepted.exit_code == 0);
  CHECK(absl::StrContains(accepted.out, "INFO - quote.ak_attributes_unknown"));
  CHECK(absl::StrContains(LastLine(accepted.out), "not checked"));
  // An EK asks for a check that nobody can make with such a key.
  c.ek = InQuotes("ek.pub");
  const CommandResult signer = c.Appraise({"--ak-attributes-unchecked"});
  CHECK(signer.exit_code == 2);
  CHECK(absl::StrContains(signer.out, "could not decide - quote.signer"));
}

TEST_CASE("quote: a wrong nonce") {
  QuoteCase c;
  for (const std::string& nonce :
       {std::string(), std::string("00"), Nonce() + "00", Nonce().substr(2)}) {
    CAPTURE(nonce);
    c.nonce = nonce;
    CheckUnproven(c.Appraise(), "quote.nonce");
  }
}

TEST_CASE("quote: another AK") {
  QuoteCase c;
  c.ak = InQuotes("akecc.pub");
  CheckUnproven(c.Appraise(), "quote.signature");
  c.ak = InQuotes("banks-ak.tpm2b_public");
  CheckUnproven(c.Appraise(), "quote.signature");
  // An EK is no AK, however good its key.
  c.ak = InQuotes("ek.pub");
  CheckUnproven(c.Appraise(), "quote.ak_attributes");
}

TEST_CASE("quote: another EK") {
  QuoteCase c;
  c.ek = InQuotes("ekecc.pub");
  CheckUnproven(c.Appraise(), "quote.signer");
}

TEST_CASE("quote: a changed signature, quote or value") {
  QuoteCase c;
  const QuoteCase good;
  c.signature = c.Changed(good.signature, -1);
  CheckUnproven(c.Appraise(), "quote.signature");
  c.signature = good.signature;
  // The last byte of the quote is the PCR digest's.
  c.quote = c.Changed(good.quote, -1);
  CheckUnproven(c.Appraise(), "quote.signature");
  c.quote = good.quote;
  // In the serialized form the first value stands at 132 + 4 + 4 + 2.
  c.pcr_values = c.Changed(good.pcr_values, 132 + 4 + 4 + 2);
  CheckUnproven(c.Appraise(), "quote.pcr_digest");

  QuoteCase raw("q10");
  raw.pcr_values = raw.Changed(InQuotes("q10.pcrs"), 0);
  CheckUnproven(raw.Appraise(), "quote.pcr_digest");
}

TEST_CASE("quote: another machine's list") {
  QuoteCase c;
  c.list = VectorPath("ima/sig-signed/binary_runtime_measurements");
  const CommandResult result = c.Appraise();
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "ima.history_lost"));
  CHECK(absl::StrContains(LastLine(result.out), "not proven by a TPM"));
}

TEST_CASE("quote: a list that was changed, cut or cut off") {
  const QuoteCase good;
  QuoteCase c;
  const std::string list = TextOf(QuotedList());
  c.list = c.folder / "list";
  Spill(c.list, Replace(list, "/bin/busybox", "/bin/busyb0x"));
  CHECK(c.Appraise().exit_code == 1);
  // The first entry left out.
  const size_t second = list.find(std::string("\x0a\0\0\0\x11\x15\xd3\x8a", 8));
  REQUIRE(second != std::string::npos);
  Spill(c.list, list.substr(second));
  CHECK(absl::StrContains(c.Appraise().out, "ima.history_lost"));
  // The last entry left out: the quote does not cover it.
  const size_t last = list.rfind(std::string("\x0a\0\0\0\x87\xb0\x44\x43", 8));
  REQUIRE(last != std::string::npos);
  Spill(c.list, list.substr(0, last));
  const CommandResult shorter = c.Appraise();
  CHECK(shorter.exit_code == 0);
  CHECK(absl::StrContains(shorter.out, "INFO - 1 entries came after"));
  // In the middle of a record.
  Spill(c.list, list.substr(0, list.size() - 1));
  CHECK(c.Appraise().exit_code == 2);
}

TEST_CASE("quote: a file that the policy lacks fails, proven") {
  QuoteCase c;
  Spill(c.policy, Replace(TextOf(c.policy), "  /bin/busybox", "  /bin/other"));
  const CommandResult result = c.Appraise();
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out,
                          "File not found in allowlist: /bin/busybox"));
  CHECK(absl::StrContains(
      result.out, "ERROR - IMA ERRORS: template-hash 0 fnf 1 hash 0 good 71"));
  CHECK(LastLine(result.out) ==
        "WARNING - appraisal failed (ima.not_in_policy), proven by a TPM's "
        "quote");
}

TEST_CASE("quote --json") {
  const QuoteCase c;
  const Json json = Json::parse(c.Appraise({"--json"}).out);
  CHECK(json["verdict"] == "pass");
  CHECK(json["proof"] == "quote");
  CHECK(json["bank"] == "sha256");
  CHECK(json["counts"]["entries"] == 72);
  CHECK(json["counts"]["pending"] == 2);
}

TEST_CASE("quote: files that are no such thing") {
  // All is well but for one file or value.
  const auto with = [](std::string QuoteCase::*member,
                       const std::string& value) {
    QuoteCase c;
    c.*member = value;
    return c.Appraise();
  };
  const std::string garbage = VectorPath("ima/quote/pcrs.json");
  CHECK_THAT(with(&QuoteCase::quote, garbage), IsRefused("pcrs.json: "));
  CHECK_THAT(with(&QuoteCase::ak, garbage), IsRefused("pcrs.json: "));
  CHECK_THAT(with(&QuoteCase::ek, garbage), IsRefused("pcrs.json: "));
  CHECK_THAT(with(&QuoteCase::pcr_values, QuotedList()),
             IsRefused("binary_runtime_measurements: "));
  CHECK_THAT(with(&QuoteCase::pcr_values, InQuotes("q10.pcrs")),
             IsRefused("q10.pcrs: "));
  for (const char* nonce : {"zz", "0", "0x00"}) {
    CHECK_THAT(with(&QuoteCase::nonce, nonce), IsRefused("--nonce"));
  }
  for (const auto member :
       {&QuoteCase::quote, &QuoteCase::signature, &QuoteCase::ak,
        &QuoteCase::ek, &QuoteCase::pcr_values}) {
    CHECK_THAT(with(member, "/no/such"),
               IsRefused("/no/such: No such file or directory"));
  }

  QuoteCase c;
  Spill(c.folder / "cut", TextOf(c.signature).substr(0, 100));
  c.signature = c.folder / "cut";
  const CommandResult cut = c.Appraise();
  CHECK(cut.exit_code == 2);
  CHECK(absl::StrContains(cut.out, "quote.malformed"));
}

TEST_CASE("quote: what a quote needs is said, and what needs a quote") {
  const QuoteCase c;
  const Arguments base = {"appraise", "--ima-list", c.list, "--policy",
                          c.policy};
  const std::vector<Arguments> flags = {{"--quote", c.quote},
                                        {"--signature", c.signature},
                                        {"--ak", c.ak},
                                        {"--nonce", c.nonce},
                                        {"--pcr-values", c.pcr_values}};
  for (size_t left_out = 0; left_out < flags.size(); ++left_out) {
    Arguments command = base;
    for (size_t i = 0; i < flags.size(); ++i) {
      if (i != left_out) command = command + flags[i];
    }
    CHECK_THAT(Tenant(command), IsRefused(flags[left_out][0] + " as well"));
    CHECK_THAT(Tenant(base + flags[left_out]), IsRefused("as well"));
  }
  CHECK_THAT(Tenant(base + Arguments{"--ek", c.ek}), IsRefused("--ek needs"));
  CHECK_THAT(Tenant(base + Arguments{"--pcr-list", "sha256:10"}),
             IsRefused("--pcr-list needs"));
  CHECK_THAT(Tenant(base + Arguments{"--ak-attributes-unchecked"}),
             IsRefused("--ak-attributes-unchecked needs"));
  CHECK_THAT(c.Appraise({"--pcrs", VectorPath("ima/quote/pcrs.json")}),
             IsRefused("--pcrs"));
}

TEST_CASE("quote: an option without a value is none that was left out") {
  const QuoteCase c;
  CheckProven(c.Appraise());
  // Each would make one check fewer, or none.
  for (const char* option :
       {"--ima-list", "--policy", "--allowlist", "--exclude", "--deny",
        "--policy-key", "--tpm-policy", "--pcrs", "--quote", "--signature",
        "--ak", "--ek", "--pcr-list", "--pcr-values", "--pad-sha1"}) {
    CAPTURE(option);
    Arguments command = c.Command();
    bool replaced = false;
    for (size_t i = 0; i + 1 < command.size(); ++i) {
      if (command[i] != option) continue;
      command[i + 1] = "";
      replaced = true;
    }
    if (!replaced) command = command + Arguments{option, ""};
    CHECK_THAT(Tenant(command),
               IsRefused(absl::StrCat(option, ": the value is empty")));
  }
  // A quote may have been made without a nonce; this one was not.
  QuoteCase without;
  without.nonce = "";
  CheckUnproven(without.Appraise(), "quote.nonce");
}

TEST_CASE("quote: a plain signature, by a key whose scheme is fixed") {
  // tpm2_quote -f plain: for RSA the signature's bytes alone.
  constexpr size_t kSchemeHashAndSize = 6;
  QuoteCase c("qall");
  const std::string plain = TextOf(c.signature).substr(kSchemeHashAndSize);
  Spill(c.folder / "plain", plain);
  c.signature = c.folder / "plain";
  CheckProven(c.Appraise());
  c.signature = c.Changed(c.folder / "plain", 7);
  CheckUnproven(c.Appraise(), "quote.signature");
  Spill(c.folder / "plain", plain.substr(1));
  c.signature = c.folder / "plain";
  CheckUnproven(c.Appraise(), "quote.signature");

  // A bare key says nothing of its scheme.
  Spill(c.folder / "plain", plain);
  c.ak = InQuotes("ak.pem");
  c.ek = "";
  CheckUnproven(c.Appraise({"--ak-attributes-unchecked"}), "quote.signature");
}

TEST_CASE("quote: files that are something else say what they should be") {
  QuoteCase quote;
  quote.quote = InQuotes("qall.sig");
  CHECK_THAT(quote.Appraise(),
             IsRefused("no TPMS_ATTEST, as tpm2_quote -m writes it"));
  QuoteCase ak;
  ak.ak = InQuotes("qall.msg");
  CHECK_THAT(ak.Appraise(),
             IsRefused("no AK, as tpm2_readpublic -o writes it"));
}

}  // namespace
}  // namespace cupel::testing
