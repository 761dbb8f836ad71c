/// Which way a command moves data.
public enum CommandData: Sendable, Hashable {
  case none
  case receive(atMost: Int)
  case send([UInt8])
}
