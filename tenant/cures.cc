#include "tenant/cures.h"

#include <algorithm>
#include <iterator>

namespace cupel::tenant {
namespace {

constexpr FindingHelp kHelp[] = {
    {"quote.malformed",
     "quote or signature is no TPMS_ATTEST or TPMT_SIGNATURE",
     "hand over the files as the TPM tools wrote them"},
    {"quote.magic", "the AK signed something that is no quote of its TPM",
     "treat the machine as compromised"},
    {"quote.type", "the AK signed something that is no quote of its TPM",
     "treat the machine as compromised"},
    {"quote.ak_attributes", "the key may sign more than what its TPM made",
     "enrol an AK: restricted, sign, fixedTPM, fixedParent, "
     "sensitiveDataOrigin, no decrypt, a fixed scheme with SHA-256 or better"},
    {"quote.ak_attributes_unknown", "a bare public key was given",
     "give the key's TPM2B_PUBLIC"},
    {"quote.signature_algorithm",
     "not the AK's scheme, or a hash below SHA-256",
     "enrol an AK with a fixed scheme and SHA-256 or better"},
    {"quote.signature", "the AK did not sign this",
     "the other findings about this quote are hints at the cause"},
    {"quote.nonce", "the quote answers another challenge",
     "a replay, or the wrong nonce was given"},
    {"quote.selection", "no PCR, or other PCRs than asked for, are signed",
     "is the bank allocated?"},
    {"quote.pcr_digest",
     "the PCR values, or the one named, are not those that were signed",
     "read the values together with the quote"},
    {"quote.signer",
     "the AK is no child of this EK in the endorsement hierarchy",
     "enrol again"},
    {"quote.selection_unchecked",
     "what was asked for is not known, so a quote of fewer PCRs can't be told",
     "give --pcr-list"},
    {"quote.signer_unchecked", "the EK is not known, or the AK's Name is not",
     "give --ek, and the AK as TPM2B_PUBLIC"},
    {"quote.pcr_value_missing",
     "a PCR is quoted of which no value is given, and which the list does not "
     "extend",
     "give all values that were quoted; those that the list extends may be "
     "left out"},
    {"tpm.new_boot", "the machine was booted since the last quote",
     "nothing, if you know of it"},
    {"tpm.restart", "it was suspended, or its TPM restarted",
     "nothing, if you know of it"},
    {"tpm.restart_unexplained",
     "after that, the list's beginning is another one",
     "PCRs were cleared and extended anew: reboot, then investigate"},
    {"continuity.gap",
     "what ran between the last quote that passed and this boot is not known",
     "where you know what the machine did meanwhile, accept it; else "
     "investigate before you trust it"},
    {"tpm.clone_suspected",
     "counters or the clock went back, or one boot shows two histories",
     "a virtual TPM was copied or rolled back"},
    {"tpm.reset_in_stream",
     "the TPM was reset while the agent's connection stayed open",
     "its PCRs were filled by something else than a boot: investigate"},
    {"tpm.clock_ahead",
     "on one connection the TPM's clock ran ahead of the verifier's",
     "somebody has set it, so that old quotes look young: investigate"},
    {"pcr.bank_weak",
     "only SHA-1, or a bank filled with SHA-1 digests, vouches for the list, "
     "or for the entries on the PCR named",
     "quote the SHA-256 bank, or allow SHA-1 expressly"},
    {"pcr.bank_not_extended",
     "PCR 0 to 7, as far as they are known, are zero: firmware never used this "
     "bank, so anybody can have filled it",
     "quote a bank that the firmware uses"},
    {"pcr.bank_unsupported", "a bank that can't be replayed was left out",
     "nothing: the banks that can be replayed decide"},
    {"pcr.changed_after_boot",
     "one of PCR 0 to 9 has another value than earlier in this boot",
     "what extends it at run time? Reboot to see what really boots"},
    {"boot.pcr_mismatch",
     "a PCR has none of the values that the boot rule allows",
     "is this the kernel and firmware you approved?"},
    {"boot.pcr_missing", "the boot rule names a PCR of which no value is given",
     "include it in the quote"},
    {"boot.rule_missing",
     "the agent has no boot rule, or none that can be used (an approved boot "
     "that is not approved yet)",
     "set `boot`; approve the boot that `status` shows"},
    {"boot.any",
     "nothing says what boot is allowed: kernel, command line and IMA policy "
     "are not judged",
     "give static PCR values"},
    {"boot.kexec",
     "another kernel was entered by kexec, with the list of the one before; "
     "the "
     "boot rule has judged the first",
     "reboot, which helps in any case (users of the machine can force this); "
     "where that kernel is known, accept it"},
    {"ima.list_malformed", "a record makes no sense; the detail names it",
     "copy the list again, in binary"},
    {"ima.list_start",
     "the list starts neither at its beginning nor where the last appraisal "
     "ended, or policy, key or banks are no longer those of then",
     "hand over the whole list"},
    {"ima.list_shrank",
     "what the PCRs explain of the list got shorter within a boot",
     "a virtual TPM was rolled back"},
    {"ima.history_lost",
     "no beginning of the list gives the PCR values: it was cut or changed, or "
     "the kernel was entered by kexec or hibernation, or somebody extended the "
     "PCR by hand",
     "reboot; if it recurs, investigate"},
    {"ima.tail_unquoted",
     "entries were shown for long, and no quote came to cover them",
     "its kernel lists what it does not measure: treat the machine as "
     "compromised, unless its TPM is broken"},
    {"ima.tail_vanished", "entries shown before their quote are gone now",
     "treat the machine as compromised: it took back what it had shown"},
    {"ima.pcr_not_quoted", "the list uses a PCR of which no value is known",
     "quote that PCR as well"},
    {"ima.pcr_reserved",
     "an entry on a PCR of the boot (0 to 9), or on one that can be reset at "
     "run time (16 to 23)",
     "change the pcr= of the IMA rule"},
    {"ima.pcr_resettable",
     "an entry on a PCR of the boot (0 to 9), or on one that can be reset at "
     "run time (16 to 23)",
     "change the pcr= of the IMA rule"},
    {"ima.boot_aggregate_missing",
     "the list does not start with boot_aggregate, or is empty",
     "is IMA switched off?"},
    {"ima.boot_aggregate", "boot_aggregate is not what PCR 0 to 9 give",
     "the list is not of this boot, or was changed: reboot, then investigate"},
    {"ima.boot_aggregate_zero", "IMA started without a TPM",
     "is the TPM there before IMA starts, its driver built in?"},
    {"ima.boot_aggregate_unproven",
     "neither the PCRs nor the policy say what it must be",
     "include PCR 0 to 9"},
    {"ima.boot_aggregate_listed",
     "the policy lists it needlessly: it is computed",
     "take it out of the policy"},
    {"ima.policy_unproven",
     "the list does not show the IMA policy that the machine has to load "
     "(--ima-policy), with a digest that the policy lists, since it was booted "
     "or entered by kexec",
     "was it loaded, by its path, and while a rule for POLICY_CHECK held "
     "(ima_policy=tcb has one)? does the policy list the file, and not exclude "
     "it only? cupel-agent doctor says more"},
    {"ima.not_in_policy",
     "\"File not found in allowlist\": the policy does not name this file",
     "if the file belongs there, add its digest to a policy; else investigate "
     "who put it there and ran it"},
    {"ima.digest_mismatch",
     "\"Hashes for file don't match\": the policy lists other digests",
     "was the file updated?"},
    {"ima.digest_denied", "a deny list names this digest",
     "remove the file; a denied digest can't be allowed by another rule. "
     "Digests of two algorithms can't be compared: deny a file by its digest "
     "in the algorithm that machines measure with"},
    {"ima.digest_zero", "the kernel could not hash the file",
     "is the file readable where it lies, and the hash known to the kernel?"},
    {"ima.violation",
     "the file was open for writing while it was measured, or changed after",
     "who writes a file while it is in use? Where that is known and harmless, "
     "tolerate violations expressly"},
    {"ima.template_digest",
     "the record's digest column is not the hash of its data",
     "the list was changed on its way"},
    {"ima.template_unknown",
     "a template that Cupel does not know, or a custom one that does not start "
     "with digest and name: replayed, but not judged",
     "use a template that the kernel has built in, such as ima-ng or ima-sig"},
    {"ima.template_malformed", "the fields do not fit the template's name",
     "the list was changed on its way"},
    {"ima.buffer_digest", "a buffer's digest is not that of its bytes",
     "the list was changed on its way"},
    {"ima.buffer_not_in_policy",
     "a key, command line or other buffer that the policy does not list, or "
     "lists otherwise",
     "if it belongs there, add it to a policy; else investigate who loaded it"},
    {"ima.buffer_mismatch",
     "a key, command line or other buffer that the policy does not list, or "
     "lists otherwise",
     "if it belongs there, add it to a policy; else investigate who loaded it"},
};

}  // namespace

std::span<const FindingHelp> AllFindingHelp() { return kHelp; }

const FindingHelp* FindHelp(absl::string_view id) {
  const auto* const found = std::ranges::find(kHelp, id, &FindingHelp::id);
  return found == std::end(kHelp) ? nullptr : found;
}

}  // namespace cupel::tenant
