import LinuxDevices
import Services

/// What a drive says of its health, and what is counted on the way to it.
struct DriveReport: Sendable, Hashable {
  /// Nil: it does not tell whether it expects to fail.
  var prognosis: DrivePrognosis?
  var uncorrectedErrors: UInt64 = 0
  /// Nil: nobody counts them.
  var linkErrors: UInt64?
  /// Why it could not be asked.
  var failure: String?

  init(prognosis: DrivePrognosis? = nil, linkErrors: UInt64? = nil, failure: String? = nil) {
    self.prognosis = prognosis
    self.linkErrors = linkErrors
    self.failure = failure
  }

  /// By the first path that answers.
  init(asking paths: [any SCSITransport]) {
    for path in paths {
      do throws(SCSIError) {
        try ask(path)
        failure = nil
        return
      } catch {
        // Disks without log pages have nothing more to say, by whatever path.
        if error.failure.isUnsupported { return }
        failure = error.failure == .reservationConflict ? "another host has it, and asks it" : "\(error)"
      }
    }
  }

  private mutating func ask(_ path: any SCSITransport) throws(SCSIError) {
    let pages = try path.send(LogSense.supportedPages)
    if pages.contains(0x2f) { prognosis = try path.send(LogSense.informationalExceptions) }
    for counters in [LogSense.writeErrors, LogSense.readErrors] where pages.contains(counters.page) {
      uncorrectedErrors += try path.send(counters).uncorrected ?? 0
    }
  }

  /// Counters are told and not judged: a drive that expects to fail says so itself, and a cable that was moved leaves errors.
  func health(lostPaths: [SCSIUnitPath]) -> Health {
    var words: [String] = []
    if let prognosis, prognosis.predictsFailure || prognosis.warns {
      words.append("the drive \(prognosis.predictsFailure ? "expects to fail" : "warns") (\(prognosis.code))")
    }
    if uncorrectedErrors > 0 { words.append("\(uncorrectedErrors) uncorrected errors") }
    if let linkErrors, linkErrors > 0 { words.append("\(linkErrors) errors on its links") }
    for path in lostPaths {
      if case .notRunning(let state) = path.state { words.append("its path \(path.address) is \(state)") }
    }
    if let failure { words.append("its health is not known: \(failure)") }
    return Health {
      $0.state = prognosis?.predictsFailure == true ? .unhealthy : failure == nil ? .healthy : .unknown
      $0.message = words.joined(separator: "; ")
    }
  }
}
