/// Small files in words that people can read, one for each thing that has a name; a name may hold whatever it likes.
public struct NoteDirectory: Sendable, Hashable {
  private let path: String

  public init(_ path: String) { self.path = path }

  /// In an order that stays.
  public var texts: [(file: String, text: String)] {
    SmallFile.names(in: path).filter { !$0.hasPrefix(".") && !$0.hasSuffix(SmallFile.temporary("")) }.sorted()
      .compactMap {
        name in SmallFile.text("\(path)/\(name)").map { ("\(path)/\(name)", $0) }
      }
  }

  public func text(_ name: String) -> String? { SmallFile.text(file(name)) }

  /// - Parameter durably: false where it is enough to know of an earlier moment after a loss of power.
  public func write(_ text: String, _ name: String, durably: Bool = true) throws(SystemCallError) {
    try SmallFile.makeDirectory(path)
    try SmallFile.replace(file(name), with: Array(text.utf8), durably: durably)
  }

  public func remove(_ name: String) throws(SystemCallError) { try SmallFile.remove(file(name)) }

  private func file(_ name: String) -> String { "\(path)/\(StableDigest.hexadecimal(name))" }
}
