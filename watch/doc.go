// Package watch serves a web page that shows training runs while they train: the metrics of
// log.jsonl, the sample grids, and the state of each run.
//
// A [Watcher] follows the files of the runs, in local folders or at URLs, and keeps a bounded
// number of points of each metric. [Watcher.Handler] serves the page. It reads only what lies in
// the runs' folders and writes nothing.
package watch
