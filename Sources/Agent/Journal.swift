import LinuxDevices
import Reconciliation
import Services

/// What was wanted of this host, and every step that was taken: for the agent's next run and for people.
///
/// Nothing here is synced to the disk. A process that is killed loses nothing that it has written, since that is the
/// kernel's; after a power loss the boot id is another one, and what was set up is gone with the machine's memory. What
/// must not be forgotten even then (spent tokens, whom this host has obeyed) is kept elsewhere.
///
/// One caller at a time; it blocks on the disk.
struct Journal: Sendable {
  /// What an earlier run of the agent left.
  struct Remembered: Sendable {
    var wanted: [WantedFunction]
    /// Functions that this host had begun to let go of by itself.
    var selfFenced: [FunctionKey]
  }

  /// Steps kept for people when the file is written anew.
  static let stepsKept = 1000

  let path: String
  private let bootID: String
  /// Nil when it could not be opened.
  private var file: RecordFile?
  private var wanted: [FunctionKey: JournalRecord] = [:]
  private var selfFenced: Set<FunctionKey> = []
  private var steps: [JournalRecord] = []
  /// Why the file does not say what it should; nil if it does.
  private(set) var problem: String?
  private(set) var damagedLines = 0

  init(_ path: String, bootID: String) {
    self.path = path
    self.bootID = bootID
    do {
      var records: [JournalRecord] = []
      var damaged = 0
      file = try RecordFile.open(path) { text, _ in
        // Nothing is safe by the journal alone, so the good lines are used.
        if let record = text.flatMap({ JournalRecord($0) }) { records.append(record) } else { damaged += 1 }
      }
      damagedLines = damaged
      for record in records { take(record) }
    } catch {
      problem = "\(error)"
    }
  }

  /// A release goes on to its end under every boot. What was in use is in use under the same boot only.
  var remembered: Remembered {
    let entries = wanted.keys.sorted().compactMap { key -> WantedFunction? in
      guard case .wanted(let entry, let bootID) = wanted[key]?.event else { return nil }
      return entry.released || bootID == self.bootID ? entry : nil
    }
    return Remembered(wanted: entries, selfFenced: selfFenced.sorted())
  }

  /// Writes down what happens now. Answers whether the file says it.
  mutating func write(_ events: [JournalRecord.Event]) -> Bool {
    let records = events.map { JournalRecord(at: WallClock.now, $0) }
    for record in records { take(record) }
    guard problem == nil else { return false }
    do {
      if (file?.recordCount ?? 0) > 4 * (wanted.count + Self.stepsKept) { return rewrite() }
      try file?.append(records.map(\.text), durably: false)
      return true
    } catch {
      problem = "\(error)"
      return false
    }
  }

  /// The same for an entry of the coordinator.
  mutating func write(wanted entries: [WantedFunction]) -> Bool {
    write(entries.map { .wanted($0, bootID: bootID) })
  }

  /// Writes the file as a whole. Answers whether that worked.
  mutating func rewrite() -> Bool {
    do {
      let records = wanted.keys.sorted().compactMap { wanted[$0] } + steps
      if file == nil { file = try RecordFile.open(path) { _, _ in } }
      try file?.rewrite(records.map(\.text), durably: false)
      problem = nil
      return true
    } catch {
      problem = "\(error)"
      return false
    }
  }

  private mutating func take(_ record: JournalRecord) {
    switch record.event {
    case .wanted(let entry, _):
      guard let key = FunctionKey(entry) else { return }
      wanted[key] = record
      if entry.released { selfFenced.remove(key) }
    case .forgotten(let key):
      wanted[key] = nil
      selfFenced.remove(key)
    case .begun(let key, let verb):
      // A function that is wanted is cut by nobody but its host.
      if case .wanted(let entry, _) = wanted[key]?.event, !entry.released, Verb(rawValue: verb)?.setsUp == false {
        selfFenced.insert(key)
      }
      keep(record)
    case .ended: keep(record)
    }
  }

  private mutating func keep(_ step: JournalRecord) {
    steps.append(step)
    if steps.count > 2 * Self.stepsKept { steps.removeFirst(Self.stepsKept) }
  }

  /// The lines of a journal for people, also while an agent writes it.
  static func print(_ path: String, _ line: (String) -> Void) throws {
    try RecordFile.read(path) { text, number in
      line(text.flatMap { JournalRecord($0) }?.description ?? "line \(number) is damaged")
    }
  }
}
