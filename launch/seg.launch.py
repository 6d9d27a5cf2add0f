"""The segmentation node on a camera's topics; `--show-args` lists the arguments."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

# share/road_kd_seg once installed, the checkout otherwise
SHARE = Path(__file__).resolve().parents[1]

ARGUMENTS = {
    "camera": ("/camera/camera", "Namespace of the camera's topics, as realsense2_camera names them."),
    "params_file": (str(SHARE / "config" / "seg.yaml"), "Parameters of the node."),
    "model": ("", "Model bundle; empty: the one in params_file."),
    "device": ("", "auto, cpu, cuda or cuda:N; empty: the one in params_file."),
    "use_sim_time": ("false", "Take the time from /clock, for bags."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}

INPUTS = (
    "color/image_raw",
    "color/image_raw/compressed",
    "color/camera_info",
    "aligned_depth_to_color/image_raw",
    "aligned_depth_to_color/image_raw/compressedDepth",
)


def generate_launch_description() -> LaunchDescription:
    profile = str(SHARE / "config" / "fastdds_shm.xml")
    return LaunchDescription(
        [
            # Images do not fit Fast DDS's default shared-memory segment; Jazzy reads the first, later ones the second.
            *(
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
                for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=seg_node),
        ]
    )


def seg_node(context: LaunchContext) -> list[Node]:
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    chosen = {name: value[name] for name in ("model", "device") if value[name]}
    return [
        Node(
            package="road_kd_seg",
            executable="seg_node",
            output="screen",
            parameters=[value["params_file"], chosen, {"use_sim_time": value["use_sim_time"].lower() == "true"}],
            remappings=[(topic, f"{value['camera'].rstrip('/')}/{topic}") for topic in INPUTS],
            ros_arguments=["--log-level", f"road_seg:={value['log_level']}"],
        )
    ]
