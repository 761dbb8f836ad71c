import NearNames

/// The rules for names of claims and hosts, and the search for the name that somebody may have meant.
enum Names {
  static let maximumLength = 63

  /// Why `name` cannot name a `kind` of thing; nil if it can.
  static func problem(with name: String, of kind: String) -> String? {
    guard !name.isEmpty else { return "the name of a \(kind) must not be empty" }
    guard name.utf8.count <= maximumLength else {
      return "the name of a \(kind) has at most \(maximumLength) characters; '\(shown(name))' has "
        + "\(name.utf8.count)"
    }
    var text = name
    let isAllowedAll = text.withUTF8 { $0.allSatisfy(isAllowed) }
    if !isAllowedAll, let (index, scalar) = name.unicodeScalars.enumerated().first(where: { !isAllowed($0.element) }) {
      return "the name of a \(kind) is made of lower-case letters, digits, '-' and '.'; "
        + "character \(index + 1) of '\(shown(name))' is \(shown(scalar))"
    }
    guard let first = name.utf8.first, isAlphanumeric(first) else {
      return "the name of a \(kind) begins with a letter or a digit; '\(name)' does not"
    }
    return nil
  }

  /// What is wrong with an interface's name, by the rules of the kernel's dev_valid_name(); nil if nothing is.
  static func problem(withInterfaceName name: String) -> String? {
    guard name.utf8.count <= 15 else {
      return "an interface name has at most 15 characters; '\(shown(name))' has \(name.utf8.count)"
    }
    guard name != ".", name != ".." else { return "an interface cannot be named '\(name)'" }
    for scalar in name.unicodeScalars {
      // '%' is the kernel's placeholder for a number, so that a name with it would not arrive as it was asked for.
      let isPrintable = scalar.value > 0x20 && scalar.value < 0x7F
      guard isPrintable, scalar != "/", scalar != ":", scalar != "%" else {
        return "an interface name cannot hold \(shown(scalar)); it was given as '\(shown(name))'"
      }
    }
    return nil
  }

  /// What is wrong with the name of a network namespace, which is a file in /run/netns; nil if nothing is.
  static func problem(withNamespaceName name: String) -> String? {
    guard !name.isEmpty else { return "the consumer is a network namespace, and its name is empty" }
    guard name.utf8.count <= 255 else { return "the name of a network namespace has at most 255 bytes" }
    guard name != ".", name != ".." else { return "a network namespace cannot be named '\(name)'" }
    for scalar in name.unicodeScalars where scalar == "/" || scalar.value < 0x20 || scalar.value == 0x7F {
      return "the name of a network namespace cannot hold \(shown(scalar)); it was given as '\(shown(name))'"
    }
    return nil
  }

  /// "; did you mean 'a' or 'b'?" if there are names near to `name`, else the list of what there is.
  static func suggestion(for name: String, among known: [String], of kinds: String) -> String {
    guard !known.isEmpty else { return "; there are no \(kinds) yet" }
    let alike = known.count > 1000 ? known.filter { NearNames.differsInOnePlace($0, from: name) } : known
    let near = NearNames.near(name, among: alike.sorted()).map { "'\($0)'" }
    if !near.isEmpty { return "; did you mean \(near.joined(separator: " or "))?" }
    return "; known \(kinds): \(list(known))"
  }

  /// The first names in order, and how many more there are.
  static func list(_ names: some Sequence<String>) -> String {
    var (first, count): ([String], Int) = ([], 0)
    for name in names {
      count += 1
      if first.count == 8, first[7] <= name { continue }
      first.insert(name, at: first.firstIndex { name < $0 } ?? first.count)
      if first.count > 8 { first.removeLast() }
    }
    let shown = first.joined(separator: ", ")
    return count > 8 ? "\(shown) and \(count - 8) more" : shown
  }

  private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII && isAllowed(UInt8(scalar.value))
  }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    isAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  /// A character as a person can recognise it, also when it is a space, a control character or a look-alike letter.
  static func shown(_ scalar: Unicode.Scalar) -> String {
    let code = String(scalar.value, radix: 16, uppercase: true)
    let number = "U+" + String(repeating: "0", count: max(0, 4 - code.count)) + code
    let isPlain = scalar.isASCII && scalar.value > 0x20 && scalar.value != 0x7F
    return isPlain ? "'\(scalar)'" : number
  }

  /// A text of a caller with control characters replaced, so that it cannot rewrite somebody's terminal.
  static func shown(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7F ? "\u{FFFD}" : $0 }))
  }
}
