#include "tests/conformance/expectations.h"

namespace cupel::conformance {
namespace {

constexpr DueGroup kDueGroups[] = {
    {"attestation", 32, 16},   {"boot_aggregate_line", 7, 4},
    {"exclude_list", 2, 2},    {"flat_allowlist", 3, 3},
    {"ima_entry", 21, 50},     {"ima_list", 68, 122},
    {"makecredential", 1, 1},  {"mb_parse", 12, 12},
    {"policy_from_log", 6, 6}, {"policy_load", 7, 9},
    {"policy_schema", 11, 0},  {"quote", 29, 4},
    {"tpm2b_name", 6, 5},      {"tpm2b_pubkey", 5, 3},
};

constexpr LaterGroup kLaterGroups[] = {
    {"attestation with a boot policy", 12, "boot policies over the event log"},
    {"certify", 9, "AKs that another key of the TPM certifies"},
    {"dm_attr", 14, "device mapper policies"},
    {"dm_parse", 12, "device mapper policies"},
    {"dm_validate", 10, "device mapper policies"},
    {"file_signature", 6, "file signatures"},
    {"ima_list with keyrings", 46, "file signatures"},
    {"key_file", 3, "file signatures"},
    {"keyring_json", 1, "file signatures"},
    {"mb_policy", 17, "boot policies over the event log"},
    {"mb_refstate_create", 2, "boot policies over the event log"},
};

constexpr absl::string_view kNoPolicy =
    "Cupel has no appraisal without a policy: a missing one is an error, never "
    "a pass. The replay is compared all the same.";
constexpr absl::string_view kBootAggregateFirst =
    "A list starts with boot_aggregate. Cupel fails a machine of which nothing "
    "is proven to be measured, since IMA may be off.";
constexpr absl::string_view kSignedAlgorithms =
    "Cupel reads bank and hash from what the TPM signed and compares them with "
    "what was asked for; its evidence has no member that names them.";
constexpr absl::string_view kNoPayloadKey =
    "Cupel's evidence has no payload key, so PCR 16 binds none and is not "
    "asked for.";
constexpr absl::string_view kClockMayRepeat =
    "Two quotes within a millisecond have the same clock, so Cupel takes only "
    "one that goes back for a violation; a replay is found by its nonce.";
constexpr absl::string_view kRestartCountBack =
    "Within one boot the restart count only grows. Where it goes back Cupel "
    "suspects a TPM that was copied or rolled back.";
constexpr absl::string_view kZeroColumnAlone =
    "Cupel takes a digest column of zeros alone for a violation, as the kernel "
    "writes it; any other has to be the digest of the data, and the entry is "
    "judged.";
constexpr absl::string_view kTolerateViolations =
    "A violation is a failure, and a notice only where the operator tolerates "
    "violations, which is what the adapter makes of the option.";
constexpr absl::string_view kZeroIsNoReference =
    "A digest of zeros says that nothing was hashed. Cupel makes no reference "
    "value of it and warns.";

constexpr absl::string_view kStartupLocality =
    "EV_NO_ACTION is not extended, and PCR 0 starts with the locality that a "
    "StartupLocality event names, as the TPM's does.";

constexpr Difference kDifferences[] = {
    // attestation
    {"att-boottime-not-int", "verdict", "pass",
     "Cupel tells boots apart by the TPM's counters; its evidence has no boot "
     "time."},
    {"att-clock-unsafe", "verdict", "pass",
     "The clock is not safe for a while after every power cut. Cupel compares "
     "the counters and takes this alone for no violation."},
    {"att-empty-list-zero-pcr", "verdict", "refused", kBootAggregateFirst},
    {"att-hash-alg-not-accepted", "verdict", "pass", kSignedAlgorithms},
    {"att-hash-alg-unknown", "verdict", "pass", kSignedAlgorithms},
    {"att-ima-pcr-not-quoted-evil", "verdict", "refused",
     "Cupel fails a list on a PCR that is not quoted, and judges its entries "
     "all the same."},
    {"att-multi-clock-same", "verdict", "pass", kClockMayRepeat},
    {"att-multi-clock-same", "steps[1].verdict", "pass", kClockMayRepeat},
    {"att-multi-restart-count-back", "verdict", "refused", kRestartCountBack},
    {"att-multi-restart-count-back", "steps[1].verdict", "refused",
     kRestartCountBack},
    {"att-no-data-pcr", "verdict", "pass", kNoPayloadKey},
    {"att-no-pubkey", "verdict", "pass", kNoPayloadKey},
    {"att-renumbered-pcr10", "verdict", "refused",
     "Which PCRs are quoted is what the TPM signed. Cupel has the list supply "
     "a value that was not reported, and judges its entries."},
    {"att-tpm-policy-data-pcr", "verdict", "refused",
     "Cupel compares every PCR that the policy gives values for, PCR 16 like "
     "any other."},
    {"att-wrong-pubkey", "verdict", "pass", kNoPayloadKey},

    // ima_entry
    {"entry-legacy-md5", "verdict", "refused",
     "The template \"ima\" records its digest without a size, so Cupel takes "
     "it to have the 20 bytes of SHA-1."},
    {"entry-pcr-11", "verdict", "pass",
     "An IMA rule may name its PCR. Whether anything vouches for that PCR is "
     "judged with the list, and not by the entry."},

    // ima_list
    {"ima-alg-label-ignored", "verdict", "refused",
     "A digest has to have the size of the algorithm that it names, and equals "
     "a policy's digest only if the algorithms agree."},
    {"ima-blank-line", "next_ima_ml_entry", "40",
     "Cupel counts entries; a blank line is none."},
    {"ima-boot-aggregate-from-mb-log", "verdict", "refused",
     "Cupel computes boot_aggregate from PCR 0 to 9 of the evidence, and has "
     "no "
     "input for one that was computed elsewhere."},
    {"ima-empty-log-zero-pcr", "verdict", "refused", kBootAggregateFirst},
    {"ima-exclude-case-flag", "verdict", "pass",
     "Cupel compiles each pattern by itself, so a flag at its start applies to "
     "that pattern."},
    {"ima-exclude-empty-string", "verdict", "refused",
     "Cupel refuses a policy with an empty pattern, which would exclude every "
     "path."},
    {"ima-exclude-possessive-py311", "verdict", "refused",
     "Cupel matches in linear time, without possessive quantifiers; a pattern "
     "that it can't use makes the policy an error."},
    {"ima-ff-hides-evil", "verdict", "refused", kZeroColumnAlone},
    {"ima-ff-template-hash", "verdict", "refused", kZeroColumnAlone},
    {"ima-pcr-11-entry", "running_pcr",
     "\"ebc278765f5d11fe46cff131ab6a534cb6253d6abfe33fdfdd9ea9cb7db9845f\"",
     "Cupel replays each PCR by itself: an entry on PCR 11 does not extend PCR "
     "10."},
    {"ima-pcr-zero", "verdict", "refused", kBootAggregateFirst},
    {"ima-pcr-zero", "running_pcr",
     "\"0000000000000000000000000000000000000000000000000000000000000000\"",
     "The replay ends with the first prefix that gives the PCR value, here the "
     "one without entries."},
    {"ima-violation-ignore-false", "verdict", "refused", kTolerateViolations},
    {"ima-violation-ignore-true", "verdict", "pass", kTolerateViolations},
    {"kl-iterative", "verdict", "refused", kNoPolicy},
    {"kl-iterative", "steps[0].verdict", "refused", kNoPolicy},
    {"kl-iterative", "steps[1].verdict", "refused", kNoPolicy},
    {"kl-iterative", "steps[2].verdict", "refused", kNoPolicy},
    {"kl-iterative", "steps[3].verdict", "refused", kNoPolicy},
    {"kl-no-policy-no-keyring", "verdict", "refused", kNoPolicy},
    {"kl-no-policy-no-keyring-nostate", "verdict", "refused", kNoPolicy},
    {"rust-ima-agent-ascii", "verdict", "refused", kNoPolicy},
    {"rust-ima-ima-log", "verdict", "refused", kNoPolicy},
    {"rust-ima-push", "verdict", "refused", kNoPolicy},

    // mb_parse
    {"mbparse-empty", "verdict", "refused",
     "A log without an event was written for no bank, so it gives no PCR a "
     "value."},
    {"mbparse-nosb", "pcrs",
     R"({"0":"0ee9a7feba8f4172f1a7451594aa5731665a4d353ac61814042ce1)"
     R"(07a00742f2","1":"d268196b8d9585b41e6de98d7b2af9cc2fcc5b8ae59)"
     R"(23b354105bf7c4d73b9cc","14":"17cdefd9548f4383b67a37a901673bf)"
     R"(3c8ded6f619d36c8007562de1d93c81cc","2":"4aa7ce1fed66fdadf81a)"
     R"(0cf06a47f14625f72fb4ff5fb5d6aa5d0632c9407878","3":"3d458cfe5)"
     R"(5cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969","4")"
     R"(:"a77ff9ab296e10186dd7e7082eab94e795b1ba9d84e920b09cf6272f68)"
     R"(c2711c","5":"569e53aee038897b12b1a0842c1edb67435d53c831bdce6)"
     R"(7f6440dd2a903925f","6":"3d458cfe55cc03ea1f443f1562beec8df51c)"
     R"(75e14a9fcf9a7234a13f198e7969","7":"741fd028c51b4d2fbdcc7f280)"
     R"(14cc758d17ccc1fe2ea7ca17b0e8009480a557c","8":"f5dc3feeda9a15)"
     R"(dbcc11c6d99572bd063e8b0a435c222b4352c466726b0f5daf","9":"e0b)"
     R"(de30667767849f70f6f1f5b561bc3d25d8aff186b8db0ac405d652f80e3c)"
     R"(4"})",
     kStartupLocality},
    {"mbparse-nosb", "boot_aggregates",
     R"({"sha1":["a487eef424f06c172cb00898af18c7f76f924cb8","537e2b6)"
     R"(5f410318a6aeef32d49109ec39da967c8"],"sha256":["aa6edeeffec15)"
     R"(2e9af0b0539a3716ea882e5043d5043a28998810b888bf6617d","fb98c6)"
     R"(0c8c6c6b84f04bd9b0fdf79409bcac8a78db545ccf6ce07e093dd2155d"])"
     R"(})",
     kStartupLocality},

    // policy_from_log
    {"policy-from-log-sha1", "digests",
     R"({"/data":["009b0d8ee8fb8d890fa70f9c8e02b3f1eded1509"]})",
     kZeroIsNoReference},
    {"policy-from-log-sha512", "digests",
     R"({"/data":["4fb914b8ed30ff69c65551573ce096aaf0c3507896cce44868d7a7e5)"
     R"(53891043c68a3889f3fc8056ef8c6bc3a54a9db83cd8112928ad51c5cd9e1a4ef33)"
     R"(2de53"]})",
     kZeroIsNoReference},
    {"policy-from-log-sm3_256", "digests", "{}",
     "Cupel lists only entries whose digest column it has checked, and has no "
     "SM3 to check this one with; it warns that the policy is empty."},
    {"policy-from-log-unknown", "digests", "{}",
     "Cupel makes no reference value of a digest whose algorithm it does not "
     "know, since it could never equal one; it warns that the policy is "
     "empty."},

    // quote
    {"quote-crafted-b64-nonce", "verdict", "refused",
     "Cupel compares the bytes of the nonce as they are given; there is one "
     "encoding of it."},
    {"quote-crafted-renumbered-16-to-23", "verdict", "refused",
     "The signed selection has to be the one asked for."},
    {"quote-crafted-rsapss", "verdict", "pass",
     "Cupel takes quotes signed with RSASSA, RSAPSS and ECDSA."},
    {"quote-crafted-selection-sha1-bank", "verdict", "refused",
     "The signed selection has to be the one asked for, bank included."},
};

}  // namespace

std::span<const DueGroup> DueGroups() { return kDueGroups; }
std::span<const LaterGroup> LaterGroups() { return kLaterGroups; }
std::span<const Difference> Differences() { return kDifferences; }

}  // namespace cupel::conformance
