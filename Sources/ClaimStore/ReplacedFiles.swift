import Glibc

/// A whole database comes into the store's place, and what was there is kept. The store must not be open. Where it fails
/// the store is as it was, or the error says what is where.
extension StoreFiles {
  /// For a database without a log. A crash at any point leaves the former one or the new one under the store's name,
  /// never none.
  func replace(with candidate: String, keepingAs former: String) throws(StoreError) {
    try synchronize(candidate)
    let isKept = link(path, former) == 0
    guard isKept || errno == ENOENT else {
      throw StoreError(.failed, "cannot keep \(path) as \(former): \(StoreLock.words(for: errno))")
    }
    guard rename(candidate, path) == 0 else {
      let code = errno
      if isKept { unlink(former) }
      throw StoreError(.failed, "cannot put \(candidate) in the place of \(path): \(StoreLock.words(for: code))")
    }
    do throws(StoreError) {
      try synchronize(path)
    } catch {
      throw Self.undo([isKept ? Move(from: path, to: former) : Move(from: candidate, to: path)], after: error)
    }
  }

  /// For a database whose log belongs to it. Without its log a database opens as an older state, so it goes first and
  /// comes back last: a crash in between leaves no store, which the lock tells from a new one, and never an older one.
  func replaceWithLog(with candidate: String, keepingAs former: String) throws(StoreError) {
    try synchronize(candidate)
    let kept = StoreFiles(path: former)
    let moves = [
      Move(from: path, to: kept.path), Move(from: log, to: kept.log),
      Move(from: sharedMemory, to: kept.sharedMemory), Move(from: candidate, to: path),
    ]
    var done: [Move] = []
    do throws(StoreError) {
      for move in moves where access(move.from, F_OK) == 0 {
        try move.make()
        done.append(move)
        try synchronize(move.to)
      }
    } catch {
      throw Self.undo(done, after: error)
    }
  }

  private struct Move {
    var from: String
    var to: String

    func make() throws(StoreError) {
      guard access(to, F_OK) != 0 else { throw StoreError(.failed, "cannot rename \(from): there is a file \(to)") }
      guard rename(from, to) == 0 else {
        throw StoreError(.failed, "cannot rename \(from) as \(to): \(StoreLock.words(for: errno))")
      }
    }
  }

  /// Takes moves back, the last one first, up to one that cannot be: a database must not come back before its log.
  private static func undo(_ moves: [Move], after error: StoreError) -> StoreError {
    var left = moves
    while let move = left.last, rename(move.to, move.from) == 0 { left.removeLast() }
    let code = errno
    guard !left.isEmpty else { return error }
    let names = left.reversed().map { "\($0.to) as \($0.from)" }.joined(separator: ", then ")
    return StoreError(
      error.reason, "\(error); and what was done cannot be taken back (\(StoreLock.words(for: code))): rename \(names)")
  }
}
