import ArgumentParser
import Quantities

extension BitRate: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension ByteCount: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension ByteRate: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

/// `key=value`.
struct Label: ExpressibleByArgument {
  let key: String
  let value: String

  init?(argument: String) {
    guard let separator = argument.firstIndex(of: "="), separator != argument.startIndex else { return nil }
    key = String(argument[..<separator])
    value = String(argument[argument.index(after: separator)...])
  }
}
