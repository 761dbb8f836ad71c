import ClaimStore
import Glibc
import LinuxDevices

/// A backup on its way into a file beside the store, which goes again unless it is kept. Its methods block on the disk.
final class IncomingBackup: Sendable {
  let path: String
  private let store: String
  private let file: FileDescriptor

  init(besideStore store: String) throws(StoreError) {
    self.store = store
    path = SQLiteStore.candidatePath(forStore: store)
    do {
      file = try FileDescriptor(opening: path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC)
    } catch {
      throw StoreError(.failed, "cannot keep the backup beside the store: \(error)")
    }
  }

  func append(_ bytes: [UInt8]) throws(StoreError) {
    // The disk must not fill up with a backup while the coordinator serves.
    if let room = SQLiteStore.room(besideStore: store), room < bytes.count {
      throw StoreError(
        .full, "no space for the backup beside the store \(store), with what the store itself needs: make space there")
    }
    do {
      try SmallFile.append(bytes, to: file, path: path)
    } catch {
      throw StoreError(.failed, "cannot keep the backup beside the store: \(error)")
    }
  }

  func remove() { SQLiteStore.removeCandidate(path) }
}
