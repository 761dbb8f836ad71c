// FunctionPluginKit
