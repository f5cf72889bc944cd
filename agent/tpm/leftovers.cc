#include "agent/tpm/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <tss2/tss2_mu.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "agent/tpm/esys_handles.h"
#include "agent/tpm/esys_marshal.h"
#include "agent/tpm/session_note.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/errno_status.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using ::cupel::tpm::PublicArea;

constexpr size_t kNoteSize = 1024;
// For how long a session of nobody's is looked at.
constexpr absl::Duration kMoment = absl::Milliseconds(200);

// Calls `is_own` with each transient object, and flushes those of which it is
// true. Objects that went away meanwhile are passed over.
template <typename IsOwn>
absl::Status FlushTransient(EsysContext& context, IsOwn is_own) {
  CUPEL_ASSIGN_OR_RETURN(const auto handles,
                         ListHandles(context, TPM2_TRANSIENT_FIRST));
  for (const TPM2_HANDLE handle : handles) {
    auto object = ForeignHandle::Open(context, handle);
    if (!object.ok()) {
      if (context.broken()) return object.status();
      continue;  // somebody else's, and gone by now
    }
    const absl::StatusOr<bool> own = is_own(object->get());
    if (!own.ok()) {
      if (context.broken()) return own.status();
      continue;  // gone by now, or of a kind that Cupel has no use for
    }
    if (*own) {
      CUPEL_RETURN_IF_ERROR(ScopedHandle(context, object->Release()).Flush());
    }
  }
  return absl::OkStatus();
}

// `area` without what the TPM fills in: what a template says.
PublicArea WithoutKey(PublicArea area) {
  area.modulus.clear();
  area.x.clear();
  area.y.clear();
  return area;
}

std::optional<NotedSession> ReadNote(int fd) {
  std::string text(kNoteSize, '\0');
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  if (got <= 0) return std::nullopt;
  text.resize(static_cast<size_t>(got));
  return ParseNotedSession(text);
}

bool IsPolicySession(TPM2_HANDLE handle) {
  return handle >= TPM2_POLICY_SESSION_FIRST &&
         handle <= TPM2_POLICY_SESSION_LAST;
}

absl::StatusOr<std::vector<TPM2_HANDLE>> LoadedSessions(EsysContext& context) {
  return ListHandles(context, TPM2_LOADED_SESSION_FIRST);
}

absl::StatusOr<std::vector<uint8_t>> PolicyDigest(EsysContext& context,
                                                  ESYS_TR session) {
  EsysPtr<TPM2B_DIGEST> digest;
  CUPEL_RETURN_IF_ERROR(context.Call("TPM2_PolicyGetDigest", [&] {
    return Esys_PolicyGetDigest(context.get(), session, ESYS_TR_NONE,
                                ESYS_TR_NONE, ESYS_TR_NONE, Out(digest));
  }));
  return std::vector<uint8_t>(digest->buffer, digest->buffer + digest->size);
}

// True if a session with this digest stands where EkAuthorization's may: at
// zero, or at the policy of an EK.
bool IsForEk(std::span<const uint8_t> digest) {
  return IsZero(digest) ||
         std::ranges::any_of(tpm::kEkTemplates, [&](tpm::EkTemplate id) {
           return std::ranges::equal(tpm::EkTemplateArea(id).auth_policy,
                                     digest);
         });
}

// Flushes the policy session `handle` if it is loaded and for an EK.
absl::Status FlushSession(EsysContext& context, TPM2_HANDLE handle) {
  CUPEL_ASSIGN_OR_RETURN(const auto loaded, LoadedSessions(context));
  if (!IsPolicySession(handle) ||
      std::ranges::find(loaded, handle) == loaded.end()) {
    return absl::OkStatus();
  }
  CUPEL_ASSIGN_OR_RETURN(ForeignHandle session,
                         ForeignHandle::Open(context, handle));
  CUPEL_ASSIGN_OR_RETURN(const auto digest,
                         PolicyDigest(context, session.get()));
  if (!IsForEk(digest)) return absl::OkStatus();
  return ScopedHandle(context, session.Release()).Flush();
}

// The policy session that is loaded now and was not before, if there is exactly
// one and it has no policy yet: what a process left that was killed while the
// TPM opened it.
absl::StatusOr<std::optional<TPM2_HANDLE>> FindNew(
    EsysContext& context, const std::vector<TPM2_HANDLE>& before) {
  CUPEL_ASSIGN_OR_RETURN(const auto loaded, LoadedSessions(context));
  std::optional<TPM2_HANDLE> found;
  for (const TPM2_HANDLE handle : loaded) {
    if (!IsPolicySession(handle) ||
        std::ranges::find(before, handle) != before.end()) {
      continue;
    }
    if (found.has_value()) return std::nullopt;
    found = handle;
  }
  if (!found.has_value()) return std::nullopt;
  CUPEL_ASSIGN_OR_RETURN(const ForeignHandle session,
                         ForeignHandle::Open(context, *found));
  CUPEL_ASSIGN_OR_RETURN(const auto digest,
                         PolicyDigest(context, session.get()));
  if (!IsZero(digest)) return std::nullopt;
  return found;
}

}  // namespace

absl::Status FlushNamed(EsysContext& context,
                        std::initializer_list<std::span<const uint8_t>> names) {
  return FlushTransient(context, [&](ESYS_TR object) -> absl::StatusOr<bool> {
    EsysPtr<TPM2B_NAME> name;
    CUPEL_RETURN_IF_ERROR(context.Call("the Name of an object", [&] {
      return Esys_TR_GetName(context.get(), object, Out(name));
    }));
    const std::span<const uint8_t> found(name->name, name->size);
    return std::ranges::any_of(names, [&](std::span<const uint8_t> own) {
      return std::ranges::equal(own, found);
    });
  });
}

absl::Status FlushEks(EsysContext& context, tpm::EkTemplate ek_template) {
  const PublicArea wanted = WithoutKey(tpm::EkTemplateArea(ek_template));
  return FlushTransient(context, [&](ESYS_TR object) -> absl::StatusOr<bool> {
    EsysPtr<TPM2B_PUBLIC> sized;
    EsysPtr<TPM2B_NAME> qualified;
    CUPEL_RETURN_IF_ERROR(context.Call("TPM2_ReadPublic", [&] {
      EsysPtr<TPM2B_NAME> name;
      return Esys_ReadPublic(context.get(), object, ESYS_TR_NONE, ESYS_TR_NONE,
                             ESYS_TR_NONE, Out(sized), Out(name),
                             Out(qualified));
    }));
    CUPEL_ASSIGN_OR_RETURN(
        const std::vector<uint8_t> bytes,
        ToBytes(sized->publicArea, Tss2_MU_TPMT_PUBLIC_Marshal, "public area"));
    CUPEL_ASSIGN_OR_RETURN(const PublicArea area, tpm::ParsePublicArea(bytes));
    CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> of_endorsement,
                           tpm::EkQualifiedName(area.Name()));
    return WithoutKey(area) == wanted &&
           std::ranges::equal(
               of_endorsement,
               std::span<const uint8_t>(qualified->name, qualified->size));
  });
}

absl::StatusOr<tpm::ClockInfo> ReadClockInfo(EsysContext& context) {
  EsysPtr<TPMS_TIME_INFO> time;
  CUPEL_RETURN_IF_ERROR(context.Call("TPM2_ReadClock", [&] {
    return Esys_ReadClock(context.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                          ESYS_TR_NONE, Out(time));
  }));
  return tpm::ClockInfo{.clock = time->clockInfo.clock,
                        .reset_count = time->clockInfo.resetCount,
                        .restart_count = time->clockInfo.restartCount,
                        .safe = time->clockInfo.safe == TPM2_YES};
}

absl::StatusOr<std::unique_ptr<SessionNote>> SessionNote::Open(
    const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, path);
  return std::unique_ptr<SessionNote>(new SessionNote(fd));
}

SessionNote::~SessionNote() { close(fd_); }

void SessionNote::Lock() {
  while (flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

void SessionNote::Unlock() { flock(fd_, LOCK_UN); }

absl::Status SessionNote::Expect(EsysContext& context) {
  CUPEL_ASSIGN_OR_RETURN(clock_, ReadClockInfo(context));
  CUPEL_ASSIGN_OR_RETURN(const auto loaded, LoadedSessions(context));
  WriteText(ShowNotedSession({.session = std::nullopt,
                              .reset_count = clock_.reset_count,
                              .restart_count = clock_.restart_count,
                              .beside = loaded}));
  return absl::OkStatus();
}

absl::Status SessionNote::Write(EsysContext& context, ESYS_TR session) {
  TPM2_HANDLE handle = 0;
  CUPEL_RETURN_IF_ERROR(context.Call("the session's handle", [&] {
    return Esys_TR_GetTpmHandle(context.get(), session, &handle);
  }));
  WriteText(ShowNotedSession({.session = handle,
                              .reset_count = clock_.reset_count,
                              .restart_count = clock_.restart_count,
                              .beside = {}}));
  return absl::OkStatus();
}

// In one call, so that a process that is killed leaves the old note or the new
// one.
void SessionNote::WriteText(const std::string& text) {
  if (text.size() >= kNoteSize) return Clear();
  std::string padded = text;
  padded.resize(kNoteSize - 1, ' ');
  padded += '\n';
  static_cast<void>(pwrite(fd_, padded.data(), padded.size(), 0) > 0);
}

void SessionNote::Clear() {
  // A note that stays is looked at, and found to be old.
  static_cast<void>(ftruncate(fd_, 0) == 0);
}

absl::Status SessionNote::FlushNoted(EsysContext& context) {
  const std::optional<NotedSession> note = ReadNote(fd_);
  if (!note.has_value()) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(const tpm::ClockInfo clock, ReadClockInfo(context));
  std::optional<TPM2_HANDLE> session;
  if (clock.reset_count == note->reset_count &&
      clock.restart_count == note->restart_count) {
    session = note->session;
    if (!session.has_value()) {
      CUPEL_ASSIGN_OR_RETURN(session, FindNew(context, note->beside));
      if (session.has_value()) {
        // Whoever is alive goes on with a session that was just opened.
        absl::SleepFor(kMoment);
        CUPEL_ASSIGN_OR_RETURN(const auto later,
                               FindNew(context, note->beside));
        if (later != session) session.reset();
      }
    }
  }
  if (session.has_value()) {
    CUPEL_RETURN_IF_ERROR(FlushSession(context, *session));
  }
  Clear();
  return absl::OkStatus();
}

}  // namespace cupel::agent
