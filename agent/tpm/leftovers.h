// What a process that was killed within a call has left in a TPM without a
// resource manager, and how it is told from what belongs to others; for this
// folder alone.
#ifndef CUPEL_AGENT_TPM_LEFTOVERS_H_
#define CUPEL_AGENT_TPM_LEFTOVERS_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/tpm/esys_context.h"
#include "common/tpm/attest.h"
#include "common/tpm/ek_template.h"

namespace cupel::agent {

// Flushes the transient objects with one of these Names. Errors of
// EsysContext::Call.
absl::Status FlushNamed(EsysContext& context,
                        std::initializer_list<std::span<const uint8_t>> names);

// Flushes the transient objects that are this TPM's EK of the template: its
// public area but for the key itself, in the endorsement hierarchy. For when
// nobody knows its Name yet. Errors as above.
absl::Status FlushEks(EsysContext& context, tpm::EkTemplate ek_template);

// TPM2_ReadClock. The counts are the TPM's own, not obfuscated ones.
absl::StatusOr<tpm::ClockInfo> ReadClockInfo(EsysContext& context);

// A file that the processes of one agent share: whoever uses the TPM locks it,
// and notes there which session is its own. A session has no Name that could be
// recognized later.
//
// Format, a line of text, padded with blanks to a fixed size:
//
//   policy-session 0x03000000 reset 2 restart 0
//   policy-session new reset 2 restart 0 beside 0x03000000 0x03000001
//
// The second one is there while the TPM opens a session: it is none of those
// that were loaded before. Not thread-safe.
class SessionNote {
 public:
  // Makes the file (0600) if it is not there, and keeps it open: a process that
  // has dropped its rights since goes on using it. kNotFound (the folder),
  // kPermissionDenied, kUnavailable with the path.
  static absl::StatusOr<std::unique_ptr<SessionNote>> Open(
      const std::string& path);
  ~SessionNote();
  SessionNote(const SessionNote&) = delete;
  SessionNote& operator=(const SessionNote&) = delete;

  // Waits until no other process has the lock; a killed one has not.
  void Lock();
  void Unlock();

  // All of these with the lock held. Where the file can't be written (a full
  // disk), a killed process leaves its session, and no more.
  //
  // A session is about to be opened. Errors of EsysContext::Call.
  absl::Status Expect(EsysContext& context);
  // `session` is the one that was expected. Errors as above.
  absl::Status Write(EsysContext& context, ESYS_TR session);
  void Clear();

  // Flushes the session that is noted, and clears the note: whoever wrote it is
  // dead. What may be another's by now is left alone: the TPM was reset or
  // restarted since, the session is for something else than an EK, or, where no
  // handle was noted yet, there is more than one that is new, or it changes
  // within a moment. Errors of EsysContext::Call.
  absl::Status FlushNoted(EsysContext& context);

 private:
  explicit SessionNote(int fd) : fd_(fd) {}

  void WriteText(const std::string& text);

  const int fd_;
  tpm::ClockInfo clock_;  // of the session that is expected
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_LEFTOVERS_H_
